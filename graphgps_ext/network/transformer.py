"""The sparse graph transformer, as a network for GraphGym: estimator, Exphormer and Spexphormer.

All three are one architecture (Exphormer's). They differ in the graphs that their layers see (the attention
graph, or the sampled tables of a layered batch) and in what the estimator does to make its weights tell.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from typing import Any, TypeVar, cast

import torch
from torch import Tensor, nn
from torch_geometric.data import Data
from torch_geometric.graphgym.config import cfg
from torch_geometric.graphgym.models.gnn import FeatureEncoder, GNNPreMP
from torch_geometric.graphgym.register import head_dict, register_network
from torch_geometric.nn import JumpingKnowledge

from graphgps_ext.capabilities import Capabilities
from graphgps_ext.layer.block import SparseTransformerBlock
from graphgps_ext.layer.graphgym import build_block, chosen_norm, local_edges_of
from graphgps_ext.layer.norm import allow_single_rows, build_norm
from graphgps_ext.network.layerwise import outputs_by_layer
from graphgps_ext.transform.batch import edge_attr_per_layer, layer_graphs

SPARSE = Capabilities(gt_width=True, temperature=True)
Network = TypeVar('Network', bound='SparseTransformer')


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
        layers: Sequence[nn.Module],
        head: nn.Module,
        *,
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
        # On the device, where a recorded step reads it; the recipe sets it by the property below.
        self.register_buffer('tau', torch.ones(()), persistent=False)
        self._temperature = 1.0

    @property
    def temperature(self) -> float:
        """τ of every soft-max; the stage-1 recipe sets it before each epoch."""
        return self._temperature

    @temperature.setter
    def temperature(self, value: float) -> None:
        self._temperature = value
        self.tau.fill_(value)

    def prepare(self, batch: Data) -> None:
        """Puts on a full batch what the local branches take from its edges, the same in every pass."""
        first = cast(SparseTransformerBlock, self.layers[0])
        if first.local is None:
            return
        graph = layer_graphs(batch, len(self.layers))[0] if 'layers' in batch else None
        batch.local_edges = local_edges_of(first, batch, graph, batch.x)

    def get_extra_state(self) -> dict[str, float]:
        """The temperature belongs to the checkpoint: scores are dumped at the best epoch's."""
        return {'temperature': self.temperature}

    def set_extra_state(self, state: dict[str, float]) -> None:
        """Restores the temperature of a checkpoint."""
        self.temperature = state['temperature']

    def forward(self, batch: Data) -> tuple[Tensor, Tensor]:
        """A whole graph, a layered batch or draws layer by layer to (prediction [S, ·], label [S])."""
        if 'draws' in batch:
            batch = copy.copy(batch)
            found = outputs_by_layer(self, batch)
        else:
            batch = self._encode(batch)
            found = (x for x, _ in self._run_layers(batch))
        outputs: list[Tensor] = []
        for x in found:
            # Without jumping knowledge an output lives until the next one is there.
            outputs = [x] if self.jumping_knowledge is None else [*outputs, x]
        batch.x = outputs[-1]
        if self.jumping_knowledge is not None:
            num_seeds = len(batch.x)  # the nodes of a layer are the first of those of the layer before
            batch.x = self.jumping_knowledge([x[:num_seeds] for x in outputs])
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
        first = cast(SparseTransformerBlock, self.layers[0])
        if 'local_edges' in batch:
            local_edges = batch.local_edges
        else:
            local_edges = local_edges_of(first, batch, graphs[0], x)  # made once, for all layers
        for layer, graph, edge_embedding in zip(self.layers, graphs, edge_attr, strict=True):
            x, weights = layer(
                x,
                graph,
                batch.type_embedding,
                temperature=self.tau,
                edge_embedding=edge_embedding,
                local_edges=local_edges,
                return_weights=return_weights,
            )
            yield x, weights


class Estimator(SparseTransformer):
    """Stage 1: the attention score estimator (ASE of the paper, section 4.1)."""

    def __init__(self, **parts: Any) -> None:
        super().__init__(**parts)
        self.scores_head = head_dict['spex_attention_scores']()

    def attention_scores(self, batch: Data) -> Iterator[Tensor]:
        """The attention scores of each layer in turn, [E] float32 on the CPU; one layer in memory."""
        batch = self._encode(batch)
        for _, weights in self._run_layers(batch, return_weights=True):
            yield self.scores_head(weights)


def _build(network: type[Network], dim_in: int, dim_out: int, *, normalize_values: bool = False) -> Network:
    """A network whose parts are those that GraphGym's cfg asks for."""
    dim_hidden = cfg.gt.dim_hidden
    encoder = FeatureEncoder(dim_in)
    pre_mp = None
    if cfg.gnn.layers_pre_mp > 0:
        pre_mp = GNNPreMP(encoder.dim_in, dim_hidden, cfg.gnn.layers_pre_mp)
    layers = [build_block(dim_hidden, normalize_values=normalize_values) for _ in range(cfg.gt.layers)]
    jumping_knowledge, dim_head = None, dim_hidden
    if cfg.gt.jumping_knowledge != 'none':
        jumping_knowledge = JumpingKnowledge(cfg.gt.jumping_knowledge, dim_hidden, cfg.gt.layers)
        dim_head = dim_hidden * cfg.gt.layers if cfg.gt.jumping_knowledge == 'cat' else dim_hidden
    return network(
        encoder=encoder,
        pre_mp=pre_mp,
        layers=layers,
        norm_out=build_norm(chosen_norm(), dim_head) if cfg.gt.pre_norm else None,
        head=head_dict[cfg.gnn.head](dim_in=dim_head, dim_out=dim_out),
        jumping_knowledge=jumping_knowledge,
    )


@register_network('spex_estimator')
@SPARSE
def build_estimator(dim_in: int, dim_out: int) -> Estimator:
    """Stage 1: narrow, on the whole attention graph, whose weights become the attention scores."""
    return _build(Estimator, dim_in, dim_out, normalize_values=cfg.spex.normalize_values)


@register_network('spexphormer')
@register_network('spex_exphormer')
@SPARSE
def build_sparse_transformer(dim_in: int, dim_out: int) -> SparseTransformer:
    """Wide: Spexphormer (stage 2) on sampled in-neighbours, Exphormer on the whole attention graph."""
    return _build(SparseTransformer, dim_in, dim_out)
