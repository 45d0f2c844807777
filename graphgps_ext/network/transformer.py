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
from torch_geometric.nn import JumpingKnowledge

from graphgps_ext.graph import InNeighbors, graph_edges
from graphgps_ext.layer.block import SparseTransformerBlock
from graphgps_ext.layer.local import LocalBranch
from graphgps_ext.layer.norm import allow_single_rows, build_norm
from graphgps_ext.transform.batch import edge_attr_per_layer, layer_graphs


class SparseTransformer(nn.Module):
    """Encoder, L blocks of sparse attention, head.

    Args:
        encoder: batch to batch; makes `x` [N, d] and `type_embedding` [T, d].
        pre_mp: batch to batch, after the encoder; None = nothing.
        layers: the L blocks.
        head: batch to (prediction, label).
        jumping_knowledge: list of L tensors [S, d] to the head's input; None = the last layer's output.
        norm_out: normalises the head's input (of blocks whose norms come before); None = nothing.
    """

    def __init__(
        self,
        encoder: nn.Module,
        pre_mp: nn.Module | None,
        layers: list[nn.Module],
        head: nn.Module,
        jumping_knowledge: nn.Module | None = None,
        norm_out: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.pre_mp = pre_mp
        self.layers = nn.ModuleList(layers)
        self.jumping_knowledge = jumping_knowledge
        self.norm_out = norm_out
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
        outputs = [batch.x]
        for x, _ in self._run_layers(batch):
            # Without jumping knowledge an output lives until the next one is there.
            outputs = [x] if self.jumping_knowledge is None else [*outputs, x]
        batch.x = outputs[-1]
        if (
            self.jumping_knowledge is not None
        ):  # the nodes of a layer are the first of those of the layer before
            num_seeds = len(batch.x)
            batch.x = self.jumping_knowledge([x[:num_seeds] for x in outputs[1:]])
        if self.norm_out is not None:
            batch.x = self.norm_out(batch.x)
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
        local, local_edges = self.layers[0].local, None
        if isinstance(local, LocalBranch):  # what all layers share is made once
            if 'local_edge_index' in batch:
                local_edges = local.edges(batch.local_edge_index, x)
            elif isinstance(graphs[0], InNeighbors):
                local_edges = local.edges(graph_edges(graphs[0]), x)
        for layer, graph, edge_embedding in zip(self.layers, graphs, edge_attr, strict=True):
            x, weights = layer(
                x,
                graph,
                batch.type_embedding,
                temperature=self.temperature,
                edge_embedding=edge_embedding,
                local_edges=local_edges,
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
            pre_norm=cfg.gt.pre_norm,
            linear_skip=cfg.gt.linear_skip,
            feed_forward=cfg.gt.feed_forward,
            local=None if cfg.gt.local_gnn_type == 'none' else cfg.gt.local_gnn_type,
            normalize_values=normalize_values,
            logit_clamp=cfg.spex.logit_clamp,
            implementation=None if cfg.gt.attention_impl == 'auto' else cfg.gt.attention_impl,
        )
        for _ in range(cfg.gt.layers)
    ]
    jumping_knowledge, dim_head = None, dim_hidden
    if cfg.gt.jumping_knowledge != 'none':
        jumping_knowledge = JumpingKnowledge(cfg.gt.jumping_knowledge, dim_hidden, cfg.gt.layers)
        dim_head = dim_hidden * cfg.gt.layers if cfg.gt.jumping_knowledge == 'cat' else dim_hidden
    norm_out = build_norm(norm, dim_head) if cfg.gt.pre_norm else None
    head = head_dict[cfg.gnn.head](dim_in=dim_head, dim_out=dim_out)
    return encoder, pre_mp, layers, head, jumping_knowledge, norm_out


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
