"""The sparse neighbour loader: layered mini-batches of seed nodes, for PyG's NodeLoader.

Runs without pyg-lib and torch-sparse. A batch holds, beside PyG's `x`, `y`, masks, `n_id` and `batch_size`:

- `layers`: a tuple of L :class:`NeighborTable`, layer 0 nearest the input. Table l has a row for each node of
  layer l + 1 and indexes the nodes of layer l, of which those of layer l + 1 are a prefix; seeds come first.
- `attention_edge_attr`: for each layer, [N, K, D] features of the edges drawn, where the plan has some.
- `sampling_seconds`: time spent making it.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from torch_geometric.data import Data
from torch_geometric.loader import NodeLoader
from torch_geometric.sampler import BaseSampler, EdgeSamplerInput, NodeSamplerInput, SamplerOutput

from graphgps_ext.graph import InNeighbors, NeighborTable
from graphgps_ext.ops import with_transpose
from graphgps_ext.sampling import (
    PrefixWeights,
    layered_neighborhood,
    prefix_weights,
    sample_neighbors,
    stream_key,
)

# A draw of K from a row of this many times K edges is cheaper from prepared weights.
LONG_ROW = 8


@dataclass(frozen=True)
class SamplingPlan:
    """What to draw in each layer.

    Args:
        graph: the attention graph.
        scores: for each layer, [E] float32, prepared or not; None for uniform draws.
        layer_degrees: K of each layer, layer 0 nearest the input.
        strategy: 'weighted', 'uniform' or 'top'.
        fill: 'mask' or 'repeat'.
        per_batch: draw anew for each batch; else batches of one key share one draw.
        edge_attr: optional [E, D] float, features of the graph's edges.
    """

    graph: InNeighbors
    scores: Sequence[Tensor | PrefixWeights | None]
    layer_degrees: Sequence[int]
    strategy: str = 'weighted'
    fill: str = 'mask'
    per_batch: bool = False
    edge_attr: Tensor | None = None

    def __post_init__(self) -> None:
        if len(self.scores) != len(self.layer_degrees):
            raise ValueError(
                f'layer_degrees needs {len(self.scores)} entries, one per layer, got '
                f'{len(self.layer_degrees)} (set spex.layer_degrees)'
            )

    def draw(self, layer: int, nodes: Tensor | None, key: int) -> NeighborTable:
        """The table of one layer for `nodes` (None = all), a function of (key, layer, node)."""
        return sample_neighbors(
            self.graph,
            self.scores[layer],
            self.layer_degrees[layer],
            strategy=self.strategy,
            fill=self.fill,
            key=stream_key(key, layer),
            nodes=nodes,
        )

    @cached_property
    def num_types(self) -> int:
        """T, above every edge type."""
        return int(self.graph.edge_type.max()) + 1 if self.graph.num_edges else 1

    def prepared(self) -> SamplingPlan:
        """The plan with weights prepared for many draws on a CPU, in layers whose edges lie in long rows."""
        if self.strategy != 'weighted' or self.graph.indptr.is_cuda:
            return self
        degree = self.graph.degree()
        scores = list(self.scores)
        made: dict[int, PrefixWeights] = {}  # layers may share their weights
        for layer, (weights, K) in enumerate(zip(self.scores, self.layer_degrees, strict=True)):
            in_long_rows = int(degree[degree >= LONG_ROW * K].sum())
            if isinstance(weights, Tensor) and 2 * in_long_rows > self.graph.num_edges:
                if id(weights) not in made:
                    made[id(weights)] = prefix_weights(self.graph, weights)
                scores[layer] = made[id(weights)]
        return replace(self, scores=scores)

    def to(self, device: torch.device) -> SamplingPlan:
        """The plan on another device; what was prepared for draws on a CPU stays behind."""
        plain = [s.weights if isinstance(s, PrefixWeights) else s for s in self.scores]
        moved = {id(s): s.to(device) for s in plain if s is not None}  # layers may share them
        return replace(
            self,
            graph=self.graph.to(device),
            scores=[None if s is None else moved[id(s)] for s in plain],
            edge_attr=None if self.edge_attr is None else self.edge_attr.to(device),
        )

    def add_to(self, batch: Data, layers: tuple[NeighborTable, ...], *, with_backward: bool) -> Data:
        """Puts drawn tables, and the features of their edges, on `batch`.

        Args:
            batch: takes `layers` and `attention_edge_attr`.
            layers: the tables.
            with_backward: whether there will be a backward pass, which reads the transpose of the tables.
        """
        if with_backward:
            with_edge_id = self.edge_attr is not None
            layers = tuple(
                with_transpose(table, self.num_types, with_edge_id=with_edge_id) for table in layers
            )
        batch.layers = layers
        if self.edge_attr is not None:  # in empty slots those of edge 0, which nobody reads
            edges = [table.edge_id for table in layers if table.edge_id is not None]
            batch.attention_edge_attr = [self.edge_attr[ids.clamp(min=0)] for ids in edges]
        return batch


@dataclass
class LayeredSamplerOutput(SamplerOutput):
    """PyG's sampler output, with the tables of the layers."""

    layers: tuple[NeighborTable, ...] = ()
    seconds: float = 0.0


class SparseNeighborSampler(BaseSampler):
    """Walks from the seed nodes through layers L − 1 … 0 of freshly drawn tables.

    Args:
        plan: what to draw.
        key: the stream of the draws; equal keys give equal draws.
    """

    def __init__(self, plan: SamplingPlan, key: int) -> None:
        self.plan = plan
        self.key = key

    def sample_from_nodes(self, index: NodeSamplerInput, **kwargs: Any) -> LayeredSamplerOutput:
        """The layered neighbourhood of the seed nodes `index.node` [S]."""
        start = time.perf_counter()
        seeds = index.node.to(self.plan.graph.indptr.device)
        # Batches are told apart by their first seed, so that it does not matter which worker draws one.
        key = stream_key(self.key, int(index.node[0])) if self.plan.per_batch else self.key
        sampled = layered_neighborhood(
            seeds,
            lambda layer, nodes: self.plan.draw(layer, nodes, key),
            num_layers=len(self.plan.layer_degrees),
            num_nodes=self.plan.graph.num_nodes,
        )
        empty = seeds.new_empty(0)
        return LayeredSamplerOutput(
            node=sampled.n_id,
            row=empty,
            col=empty,
            edge=None,
            metadata=(index.input_id, index.time),
            layers=sampled.layers,
            seconds=time.perf_counter() - start,
        )

    def sample_from_edges(self, index: EdgeSamplerInput, **kwargs: Any) -> SamplerOutput:
        """Not for link tasks, which are out of scope; PyG wants it to be there."""
        raise NotImplementedError('the sparse neighbour sampler serves node tasks only')


class SparseNeighborLoader(NodeLoader):
    """Layered batches of seed nodes.

    Args:
        data: node tensors to slice (`x`, `y`, masks); edges are taken from the plan.
        plan: what to draw.
        key: the stream of the draws.
        input_nodes: seed nodes, indices or mask [N]; None = all nodes.
        with_backward: whether batches get what a backward pass reads; evaluation does without.
        kwargs: of PyG's NodeLoader (batch_size, shuffle, num_workers, ...).
    """

    def __init__(
        self,
        data: Data,
        plan: SamplingPlan,
        *,
        key: int,
        input_nodes: Tensor | None = None,
        with_backward: bool = True,
        **kwargs: Any,
    ) -> None:
        self.with_backward = with_backward
        super().__init__(data, SparseNeighborSampler(plan, key), input_nodes, **kwargs)

    def filter_fn(self, out: LayeredSamplerOutput) -> Data:
        """Slices the node tensors and adds the tables."""
        start = time.perf_counter()
        batch = super().filter_fn(out)
        self.node_sampler.plan.add_to(batch, out.layers, with_backward=self.with_backward)
        batch.sampling_seconds = out.seconds + time.perf_counter() - start
        return batch


def node_data(data: Data) -> Data:
    """The node tensors of `data` alone: what a layered batch slices (and, for a full batch, local edges)."""
    keys = ('x', 'y', 'train_mask', 'val_mask', 'test_mask', 'virtual_node', 'local_edge_index')
    nodes = Data(**{key: data[key] for key in keys if key in data})
    nodes.num_nodes = data.num_nodes
    return nodes


def full_batch(data: Data, plan: SamplingPlan, key: int, *, with_backward: bool = True) -> Data:
    """The layered batch in which all nodes are seeds: whole tables, nothing to relabel or slice.

    It alone can hold `local_edge_index`, the edges of a local branch.
    """
    start = time.perf_counter()
    layers = tuple(plan.draw(layer, None, key) for layer in range(len(plan.layer_degrees)))
    batch = plan.add_to(node_data(data), layers, with_backward=with_backward)
    batch.n_id = torch.arange(data.num_nodes, device=data.x.device)
    batch.batch_size = data.num_nodes
    batch.sampling_seconds = time.perf_counter() - start
    return batch
