"""The sparse neighbour loader: layered mini-batches of seed nodes, for PyG's NodeLoader.

Runs without pyg-lib and torch-sparse. A batch holds, beside PyG's `x`, `y`, masks, `n_id` and `batch_size`:

- `layers`: L of :class:`NeighborTable`, layer 0 nearest the input. Table l has a row for each node of
  layer l + 1 and indexes the nodes of layer l, of which those of layer l + 1 are a prefix; seeds come first.
- `attention_edge_attr`: for each layer, [N, K, D] features of the edges drawn, where the plan has some.
- `sampling_seconds`: time spent making it.
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

from graphgps_ext.graph import NeighborTable, PerLayer
from graphgps_ext.ops import with_transpose
from graphgps_ext.sampling import SamplingPlan, layered_neighborhood, stream_key

# What does not change from step to step on a full batch: labels that are known, edges of a local branch.
OF_WHOLE = ('train_known', 'val_known', 'test_known', 'local_edges')


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
        sampled = layered_neighborhood(self.plan, seeds, key)
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
        add_layers(batch, self.node_sampler.plan, out.layers, with_backward=self.with_backward)
        batch.sampling_seconds = out.seconds + time.perf_counter() - start
        return batch


def add_layers(
    batch: Data, plan: SamplingPlan, layers: Sequence[NeighborTable], *, with_backward: bool
) -> Data:
    """Puts drawn tables, and the features of their edges, on `batch`.

    Args:
        batch: takes `layers` and `attention_edge_attr`.
        plan: of the draw.
        layers: L tables.
        with_backward: whether there will be a backward pass, which reads the transpose of the tables.
    """
    if with_backward:
        with_edge_id = plan.edge_attr is not None
        layers = [with_transpose(table, plan.num_types, with_edge_id=with_edge_id) for table in layers]
    batch.layers = PerLayer(layers)
    if plan.edge_attr is not None:  # in empty slots those of edge 0, which nobody reads
        edges = [table.edge_id for table in layers if table.edge_id is not None]
        batch.attention_edge_attr = PerLayer(plan.edge_attr[ids.clamp(min=0)] for ids in edges)
    return batch


def node_data(data: Data) -> Data:
    """The node tensors of `data` alone: what a layered batch slices (and what a full batch has beside)."""
    keys = ('x', 'y', 'train_mask', 'val_mask', 'test_mask', 'virtual_node', 'local_edge_index', *OF_WHOLE)
    nodes = Data(**{key: data[key] for key in keys if key in data})
    nodes.num_nodes = data.num_nodes
    return nodes


def full_batch(data: Data, plan: SamplingPlan, key: int | Tensor, *, with_backward: bool = True) -> Data:
    """The layered batch in which all nodes are seeds: whole tables, nothing to relabel or slice.

    It alone can hold `local_edge_index`, the edges of a local branch.
    """
    start = time.perf_counter()
    layers = [plan.draw(layer, None, key) for layer in range(plan.num_layers)]
    batch = add_layers(node_data(data), plan, layers, with_backward=with_backward)
    batch.n_id = torch.arange(data.num_nodes, device=data.x.device)
    batch.batch_size = data.num_nodes
    batch.sampling_seconds = time.perf_counter() - start
    return batch
