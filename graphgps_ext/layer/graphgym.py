"""The sparse transformer block as GraphGym's cfg asks for it, and as GraphGym layers.

The layers are for `gnn.layer_type` of GraphGym's stock network `gnn`. They need the attention graph of
graphgps_ext's loader and `dataset.edge_encoder_name: spex_expander_edge`. They read the keys `gt.*` that the
networks' blocks read; their number and width are GraphGym's `gnn.layers_mp` and `gnn.dim_inner`.
"""

from typing import Any

from torch import Tensor, nn
from torch_geometric.data import Data
from torch_geometric.graphgym.config import cfg
from torch_geometric.graphgym.models.layer import LayerConfig
from torch_geometric.graphgym.register import register_layer

from graphgps_ext.errors import ConfigError
from graphgps_ext.graph import Graph, InNeighbors, graph_edges
from graphgps_ext.layer.block import SparseTransformerBlock
from graphgps_ext.layer.norm import NORMS
from graphgps_ext.transform.batch import take_layer


def chosen_norm() -> str | None:
    """The normalisation whose key `gt.<name>_norm` is True."""
    chosen = [name for name in NORMS if cfg.gt[f'{name}_norm']]  # one at most, says the check
    return chosen[0] if chosen else None


def build_block(channels: int, *, normalize_values: bool = False) -> SparseTransformerBlock:
    """A block of this width, its options from `gt.*` and `spex.logit_clamp`."""
    return SparseTransformerBlock(
        channels,
        cfg.gt.n_heads,
        dropout=cfg.gt.dropout,
        norm=chosen_norm(),
        residual=cfg.gt.residual,
        pre_norm=cfg.gt.pre_norm,
        linear_skip=cfg.gt.linear_skip,
        feed_forward=cfg.gt.feed_forward,
        local=None if cfg.gt.local_gnn_type == 'none' else cfg.gt.local_gnn_type,
        normalize_values=normalize_values,
        logit_clamp=cfg.spex.logit_clamp,
        implementation=None if cfg.gt.attention_impl == 'auto' else cfg.gt.attention_impl,
    )


def local_edges_of(
    block: SparseTransformerBlock, batch: Data, graph: Graph | None, x: Tensor
) -> tuple[Tensor | None, ...] | None:
    """What the local branch of each block takes from the whole graph; None: it has its own in each layer."""
    if block.local is None:
        return None
    if 'local_edge_index' in batch:
        return block.local.edges(batch.local_edge_index, x)
    return block.local.edges(graph_edges(graph), x) if isinstance(graph, InNeighbors) else None


class SparseLayer(nn.Module):
    """A block on the next graph of the batch, which it uses up: batch to batch.

    Args:
        layer_config: of GraphGym; `dim_in` and `dim_out` have to be equal.
        normalize_values: see :class:`SparseTransformerBlock`.

    Raises:
        ConfigError: if the widths differ, or for `gt.jumping_knowledge`, which is no layer's matter.
    """

    def __init__(self, layer_config: LayerConfig, *, normalize_values: bool = False) -> None:
        super().__init__()
        if layer_config.dim_in != layer_config.dim_out:
            raise ConfigError(
                f'a sparse transformer layer keeps its width, got dim_in {layer_config.dim_in} and dim_out '
                f'{layer_config.dim_out} (set gnn.dim_inner, gnn.layers_pre_mp or gnn.stage_type)'
            )
        if cfg.gt.jumping_knowledge != 'none':
            raise ConfigError(
                f'gt.jumping_knowledge needs to be none for layers of the network gnn, '
                f'got {cfg.gt.jumping_knowledge} (set it, or model.type spex_exphormer)'
            )
        self.block = build_block(layer_config.dim_out, normalize_values=normalize_values)

    def forward(self, batch: Data) -> Data:
        """Replaces `batch.x` [M, d] by [N, d], N the targets of the graph."""
        graph, edge_embedding = take_layer(batch)
        batch.x, _ = self.block(
            batch.x,
            graph,
            batch.type_embedding,
            edge_embedding=edge_embedding,
            local_edges=local_edges_of(self.block, batch, graph, batch.x),
        )
        return batch


@register_layer('spexphormer')
@register_layer('spex_exphormer')
def build_layer(layer_config: LayerConfig, **kwargs: Any) -> SparseLayer:
    """A block on the whole attention graph (Exphormer) or the next table of a layered batch (Spexphormer)."""
    return SparseLayer(layer_config)


@register_layer('spex_estimator')
def build_estimator_layer(layer_config: LayerConfig, **kwargs: Any) -> SparseLayer:
    """The estimator's block, on the whole attention graph: `spex.normalize_values`; its temperature is 1."""
    return SparseLayer(layer_config, normalize_values=cfg.spex.normalize_values)
