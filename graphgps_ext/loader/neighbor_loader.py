"""The sparse neighbour loader: layered mini-batches of seed nodes, for PyG's NodeLoader.

Runs without pyg-lib and torch-sparse. A batch holds, beside PyG's `x`, `y`, masks, `n_id` and `batch_size`:

- `layers`: a tuple of L :class:`NeighborTable`, layer 0 nearest the input. Table l has a row for each node of
  layer l + 1 and indexes the nodes of layer l, of which those of layer l + 1 are a prefix; seeds come first.
- `attention_edge_attr`: for each layer, [N, K, D] features of the edges drawn, where the plan has some.
- `sampling_seconds`: time spent drawing and relabelling it.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch_geometric.data import Data
from torch_geometric.loader import NodeLoader
from torch_geometric.sampler import BaseSampler, EdgeSamplerInput, NodeSamplerInput, SamplerOutput

from graphgps_ext.ops import InNeighbors, NeighborTable
from graphgps_ext.sampling import layered_neighborhood, sample_neighbors, stream_key


@dataclass(frozen=True)
class SamplingPlan:
    """What to draw in each layer.

    Args:
        graph: the attention graph.
        scores: for each layer, [E] float32; None for uniform draws.
        layer_degrees: K of each layer, layer 0 nearest the input.
        strategy: 'weighted', 'uniform' or 'top'.
        fill: 'mask' or 'repeat'.
        per_batch: draw anew for each batch; else batches of one key share one draw.
        edge_attr: optional [E, D] float, features of the graph's edges.
    """

    graph: InNeighbors
    scores: Sequence[Tensor | None]
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

    def add_to(self, batch: Data, layers: tuple[NeighborTable, ...]) -> Data:
        """Puts drawn tables, and the features of their edges, on `batch`."""
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
        seeds = index.node
        # Batches are told apart by their first seed, so that it does not matter which worker draws one.
        key = stream_key(self.key, int(seeds[0])) if self.plan.per_batch else self.key
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
        kwargs: of PyG's NodeLoader (batch_size, shuffle, num_workers, ...).
    """

    def __init__(
        self, data: Data, plan: SamplingPlan, *, key: int, input_nodes: Tensor | None = None, **kwargs: Any
    ) -> None:
        super().__init__(data, SparseNeighborSampler(plan, key), input_nodes, **kwargs)

    def filter_fn(self, out: LayeredSamplerOutput) -> Data:
        """Slices the node tensors and adds the tables."""
        batch = self.node_sampler.plan.add_to(super().filter_fn(out), out.layers)
        batch.sampling_seconds = out.seconds
        return batch


def node_data(data: Data) -> Data:
    """The node tensors of `data` alone: what a layered batch slices (and, for a full batch, local edges)."""
    keys = ('x', 'y', 'train_mask', 'val_mask', 'test_mask', 'virtual_node', 'local_edge_index')
    nodes = Data(**{key: data[key] for key in keys if key in data})
    nodes.num_nodes = data.num_nodes
    return nodes


def full_batch(data: Data, plan: SamplingPlan, key: int) -> Data:
    """The layered batch in which all nodes are seeds: whole tables, nothing to relabel or slice.

    It alone can hold `local_edge_index`, the edges of a local branch.
    """
    start = time.perf_counter()
    layers = tuple(plan.draw(layer, None, key) for layer in range(len(plan.layer_degrees)))
    batch = plan.add_to(node_data(data), layers)
    batch.n_id = torch.arange(data.num_nodes, device=data.x.device)
    batch.batch_size = data.num_nodes
    batch.sampling_seconds = time.perf_counter() - start
    return batch
