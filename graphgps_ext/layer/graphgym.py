"""The sparse transformer blocks as GraphGym layers, for `gnn.layer_type` of its stock network `gnn`.

They need the attention graph of graphgps_ext's loader and `dataset.edge_encoder_name: spex_expander_edge`.
"""

from typing import Any

from torch import nn
from torch_geometric.data import Data
from torch_geometric.graphgym.config import cfg
from torch_geometric.graphgym.models.layer import LayerConfig
from torch_geometric.graphgym.register import register_layer

from graphgps_ext.errors import ConfigError
from graphgps_ext.layer.block import SparseTransformerBlock
from graphgps_ext.transform.batch import attention_graph_of


class WholeGraphLayer(nn.Module):
    """A block on the attention graph of the batch: batch to batch.

    Args:
        layer_config: of GraphGym; `dim_in` and `dim_out` have to be equal.
        kwargs: of :class:`SparseTransformerBlock`.
    """

    def __init__(self, layer_config: LayerConfig, **kwargs: Any) -> None:
        super().__init__()
        if layer_config.dim_in != layer_config.dim_out:
            raise ConfigError(
                f'a sparse transformer layer keeps its width, got dim_in {layer_config.dim_in} and dim_out '
                f'{layer_config.dim_out} (set gnn.dim_inner, gnn.layers_pre_mp or gnn.stage_type)'
            )
        self.block = SparseTransformerBlock(layer_config.dim_out, **kwargs)

    def forward(self, batch: Data) -> Data:
        """Replaces `batch.x` [N, d]."""
        batch.x, _ = self.block(batch.x, attention_graph_of(batch), batch.type_embedding)
        return batch


class SampledLayer(WholeGraphLayer):
    """A block on the next sampled table of a layered batch, which it uses up: batch to batch."""

    def forward(self, batch: Data) -> Data:
        """Replaces `batch.x` [M, d] by [N, d], N the rows of the table."""
        table, *batch.layers = batch.layers
        batch.x, _ = self.block(batch.x, table, batch.type_embedding)
        return batch


@register_layer('spex_exphormer')
def build_exphormer_layer(layer_config: LayerConfig, **kwargs: Any) -> WholeGraphLayer:
    """Exphormer's block: attention over the whole attention graph, feed-forward, batch norm."""
    return WholeGraphLayer(
        layer_config, heads=cfg.gt.n_heads, dropout=cfg.gt.dropout, logit_clamp=cfg.spex.logit_clamp
    )


@register_layer('spex_estimator')
def build_estimator_layer(layer_config: LayerConfig, **kwargs: Any) -> WholeGraphLayer:
    """The estimator's block: one head, normalised values, GraphNorm."""
    return WholeGraphLayer(
        layer_config,
        heads=1,
        norm='graph',
        normalize_values=cfg.spex.normalize_values,
        logit_clamp=cfg.spex.logit_clamp,
    )


@register_layer('spexphormer')
def build_spexphormer_layer(layer_config: LayerConfig, **kwargs: Any) -> SampledLayer:
    """Spexphormer's block: attention over the next sampled table of a layered batch."""
    return SampledLayer(
        layer_config, heads=cfg.gt.n_heads, dropout=cfg.gt.dropout, logit_clamp=cfg.spex.logit_clamp
    )
