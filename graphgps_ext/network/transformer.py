"""The sparse graph transformer, as a network for GraphGym: estimator, Exphormer and Spexphormer.

All three are one architecture (Exphormer's). They differ in the graphs that their layers see (the attention
graph, or the sampled tables of a layered batch) and in what the estimator does to make its weights tell.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

from torch import Tensor, nn
from torch_geometric.data import Data
from torch_geometric.graphgym.config import cfg
from torch_geometric.graphgym.models.gnn import FeatureEncoder, GNNPreMP
from torch_geometric.graphgym.register import head_dict, register_network

from graphgps_ext.layer.block import SparseTransformerBlock
from graphgps_ext.layer.norm import allow_single_rows
from graphgps_ext.transform.batch import edge_attr_per_layer, layer_graphs


class SparseTransformer(nn.Module):
    """Encoder, L blocks of sparse attention, head.

    Args:
        encoder: batch to batch; makes `x` [N, d] and `type_embedding` [T, d].
        pre_mp: batch to batch, after the encoder; None = nothing.
        layers: the L blocks.
        head: batch to (prediction, label).
    """

    def __init__(
        self, encoder: nn.Module, pre_mp: nn.Module | None, layers: list[nn.Module], head: nn.Module
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.pre_mp = pre_mp
        self.layers = nn.ModuleList(layers)
        self.post_mp = head
        allow_single_rows(self)  # those of GraphGym's pre-layers
        self.temperature = 1.0  # τ of every soft-max; the stage-1 recipe sets it before each epoch

    def get_extra_state(self) -> dict[str, float]:
        """The temperature belongs to the checkpoint: scores are dumped at the best epoch's."""
        return {'temperature': self.temperature}

    def set_extra_state(self, state: dict[str, float]) -> None:
        """Restores the temperature of a checkpoint."""
        self.temperature = state['temperature']

    def forward(self, batch: Data) -> tuple[Tensor, Tensor]:
        """A whole graph or a layered batch to (prediction [S, ·], label [S])."""
        batch = self._encode(batch)
        for x, _ in self._run_layers(batch):
            batch.x = x
        return self.post_mp(batch)

    def _encode(self, batch: Data) -> Data:
        batch = self.encoder(copy.copy(batch))
        return batch if self.pre_mp is None else self.pre_mp(batch)

    def _run_layers(
        self, batch: Data, *, return_weights: bool = False
    ) -> Iterator[tuple[Tensor, Tensor | None]]:
        """Yields the output of each layer and, if asked for, its attention weights."""
        x = batch.x
        graphs = layer_graphs(batch, len(self.layers))
        edge_attr = edge_attr_per_layer(batch, len(self.layers))
        for layer, graph, edge_embedding in zip(self.layers, graphs, edge_attr, strict=True):
            x, weights = layer(
                x,
                graph,
                batch.type_embedding,
                temperature=self.temperature,
                edge_embedding=edge_embedding,
                return_weights=return_weights,
            )
            yield x, weights


class Estimator(SparseTransformer):
    """Stage 1: the attention score estimator (ASE of the paper, section 4.1)."""

    def __init__(self, *args: Any, scores_head: nn.Module) -> None:
        super().__init__(*args)
        self.scores_head = scores_head

    def attention_scores(self, batch: Data) -> Iterator[Tensor]:
        """The attention scores of each layer in turn, [E] float32 on the CPU; one layer in memory."""
        batch = self._encode(batch)
        for _, weights in self._run_layers(batch, return_weights=True):
            yield self.scores_head(weights)


def _parts(dim_in: int, dim_out: int, *, normalize_values: bool) -> tuple[Any, ...]:
    """The arguments of :class:`SparseTransformer`, from GraphGym's cfg."""
    dim_hidden = cfg.gt.dim_hidden
    encoder = FeatureEncoder(dim_in)
    pre_mp = None
    if cfg.gnn.layers_pre_mp > 0:
        pre_mp = GNNPreMP(encoder.dim_in, dim_hidden, cfg.gnn.layers_pre_mp)
    norm = next((n for n in ('batch', 'graph', 'layer') if cfg.gt[f'{n}_norm']), None)
    layers = [
        SparseTransformerBlock(
            dim_hidden,
            cfg.gt.n_heads,
            dropout=cfg.gt.dropout,
            norm=norm,
            residual=cfg.gt.residual,
            normalize_values=normalize_values,
            logit_clamp=cfg.spex.logit_clamp,
            implementation=None if cfg.gt.attention_impl == 'auto' else cfg.gt.attention_impl,
        )
        for _ in range(cfg.gt.layers)
    ]
    head = head_dict[cfg.gnn.head](dim_in=dim_hidden, dim_out=dim_out)
    return encoder, pre_mp, layers, head


@register_network('spex_estimator')
def build_estimator(dim_in: int, dim_out: int) -> Estimator:
    """Stage 1: narrow, on the whole attention graph, whose weights become the attention scores."""
    parts = _parts(dim_in, dim_out, normalize_values=cfg.spex.normalize_values)
    return Estimator(*parts, scores_head=head_dict['spex_attention_scores'](cfg.gt.n_heads, cfg.gt.n_heads))


@register_network('spexphormer')
def build_spexphormer(dim_in: int, dim_out: int) -> SparseTransformer:
    """Stage 2: wide, each layer on a few in-neighbours per node, sampled by attention scores."""
    return SparseTransformer(*_parts(dim_in, dim_out, normalize_values=False))


@register_network('spex_exphormer')
def build_exphormer(dim_in: int, dim_out: int) -> SparseTransformer:
    """Exphormer: wide, on the whole attention graph."""
    return SparseTransformer(*_parts(dim_in, dim_out, normalize_values=False))
