"""The sparse transformer blocks as GraphGym layers, for `gnn.layer_type` of its stock network `gnn`.

They need the attention graph of graphgps_ext's loader and `dataset.edge_encoder_name: spex_expander_edge`.
"""

from typing import Any

from torch import nn
from torch_geometric.data import Data
from torch_geometric.graphgym.config import cfg
from torch_geometric.graphgym.models.layer import LayerConfig
from torch_geometric.graphgym.register import register_layer

from graphgps_ext.layer.block import SparseTransformerBlock
from graphgps_ext.transform.batch import take_layer


class SparseLayer(nn.Module):
    """A block on the next graph of the batch, which it uses up: batch to batch.

    Args:
        layer_config: of GraphGym; `dim_in` and `dim_out` have to be equal.
        kwargs: of :class:`SparseTransformerBlock`.
    """

    def __init__(self, layer_config: LayerConfig, **kwargs: Any) -> None:
        super().__init__()
        if layer_config.dim_in != layer_config.dim_out:
            raise ValueError(
                f'a sparse transformer layer keeps its width, got dim_in {layer_config.dim_in} and dim_out '
                f'{layer_config.dim_out} (set gnn.dim_inner, gnn.layers_pre_mp or gnn.stage_type)'
            )
        self.block = SparseTransformerBlock(layer_config.dim_out, **kwargs)

    def forward(self, batch: Data) -> Data:
        """Replaces `batch.x` [M, d] by [N, d], N the targets of the graph."""
        graph, _ = take_layer(batch)
        batch.x, _ = self.block(batch.x, graph, batch.type_embedding)
        return batch


@register_layer('spex_exphormer')
def build_exphormer_layer(layer_config: LayerConfig, **kwargs: Any) -> SparseLayer:
    """Exphormer's block: attention over the whole attention graph, feed-forward, batch norm."""
    return SparseLayer(
        layer_config, heads=cfg.gt.n_heads, dropout=cfg.gt.dropout, logit_clamp=cfg.spex.logit_clamp
    )


@register_layer('spex_estimator')
def build_estimator_layer(layer_config: LayerConfig, **kwargs: Any) -> SparseLayer:
    """The estimator's block: one head, normalised values, GraphNorm."""
    return SparseLayer(
        layer_config,
        heads=1,
        norm='graph',
        normalize_values=cfg.spex.normalize_values,
        logit_clamp=cfg.spex.logit_clamp,
    )


@register_layer('spexphormer')
def build_spexphormer_layer(layer_config: LayerConfig, **kwargs: Any) -> SparseLayer:
    """Spexphormer's block: attention over the next sampled table of a layered batch."""
    return SparseLayer(
        layer_config, heads=cfg.gt.n_heads, dropout=cfg.gt.dropout, logit_clamp=cfg.spex.logit_clamp
    )
