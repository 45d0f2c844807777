"""The nodes that a stack of sampled layers needs to compute its seed nodes, and the tables between them.

The walk goes from the last layer to the first: the rows of layer l are drawn for the nodes which layer l + 1
reads, and the neighbours found are appended to them. Batching loses no edge: the receptive field is exact.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from graphgps_ext.graph import NeighborTable
from graphgps_ext.sampling.plan import SamplingPlan
from graphgps_ext.sampling.relabel import Relabeler, make_relabeler


@dataclass(frozen=True)
class LayeredNeighborhood:
    """The sampled computation graph of S seed nodes through L layers, layer 0 nearest the input.

    Layer l reads the first N_l entries of `n_id` and computes the first N_{l+1}: the nodes of a layer are a
    prefix of those of the layer before it, and the first S = N_L are the seeds in the order given.

    Args:
        n_id: [N_0] int64, ids of the nodes in the whole graph, without duplicates.
        layers: L tables; table l has N_{l+1} rows, and its neighbours index the first N_l entries of `n_id`.
        num_nodes: N_0, ..., N_L, not increasing.

    Raises:
        ValueError: if the counts do not fit together. Ids are not looked at.
    """

    n_id: Tensor
    layers: tuple[NeighborTable, ...]
    num_nodes: tuple[int, ...]

    def __post_init__(self) -> None:
        if self.n_id.dim() != 1 or self.n_id.dtype != torch.int64:
            raise ValueError(
                f'n_id needs one dimension and dtype int64, got {list(self.n_id.shape)} {self.n_id.dtype}'
            )
        if len(self.num_nodes) != len(self.layers) + 1:
            raise ValueError(f'num_nodes needs {len(self.layers) + 1} entries, got {len(self.num_nodes)}')
        if self.num_nodes[0] != self.n_id.numel():
            raise ValueError(
                f'num_nodes[0] must be {self.n_id.numel()}, the size of n_id, got {self.num_nodes[0]}'
            )
        for layer, table in enumerate(self.layers):
            num_inputs, num_outputs = self.num_nodes[layer], self.num_nodes[layer + 1]
            if num_outputs > num_inputs:
                raise ValueError(f'num_nodes must not increase, got {self.num_nodes}')
            if table.num_nodes != num_outputs or table.num_sources != num_inputs:
                raise ValueError(
                    f'layer {layer} needs {num_outputs} rows over {num_inputs} nodes, '
                    f'got {table.num_nodes} rows over {table.num_sources}'
                )

    @property
    def num_seeds(self) -> int:
        """S, the number of seed nodes."""
        return self.num_nodes[-1]


def layered_neighborhood(plan: SamplingPlan, seeds: Tensor, key: int) -> LayeredNeighborhood:
    """Walks from the seeds through layers L−1, ..., 0 and relabels what it meets in order of appearance.

    Args:
        plan: what to draw in each layer.
        seeds: [S] int64, distinct nodes. All nodes in order (the full batch) skip the relabelling.
        key: of the draws; equal keys give equal draws.

    Raises:
        ValueError: if seeds repeat or lie outside [0, num_nodes).
    """
    if seeds.dim() != 1 or seeds.dtype != torch.int64:
        raise ValueError(f'seeds needs one dimension and dtype int64, got {list(seeds.shape)} {seeds.dtype}')
    num_nodes = plan.graph.num_nodes
    if seeds.numel() == num_nodes and torch.equal(seeds, torch.arange(num_nodes, device=seeds.device)):
        tables = tuple(plan.draw(layer, None, key) for layer in range(plan.num_layers))
        return LayeredNeighborhood(seeds, tables, (num_nodes,) * (plan.num_layers + 1))
    relabeler = make_relabeler(num_nodes, seeds.device)
    _add_seeds(relabeler, seeds)
    layers: list[NeighborTable] = []
    counts = [seeds.numel()]
    for layer in reversed(range(plan.num_layers)):
        table = plan.draw(layer, relabeler.n_id, key)
        source = relabeler.add(table.source)
        layers.insert(0, replace(table, source=source, num_sources=relabeler.n_id.numel()))
        counts.insert(0, relabeler.n_id.numel())
    return LayeredNeighborhood(relabeler.n_id, tuple(layers), tuple(counts))


def _add_seeds(relabeler: Relabeler, seeds: Tensor) -> None:
    if seeds.numel():
        low, high = (int(bound) for bound in seeds.aminmax())
        if low < 0 or high >= relabeler.num_nodes:
            raise ValueError(f'seeds must lie in [0, {relabeler.num_nodes}), got {low} to {high}')
    relabeler.add(seeds)
    distinct = relabeler.n_id.numel()
    if distinct != seeds.numel():
        raise ValueError(f'seeds must be distinct, got {seeds.numel()} with {distinct} different ones')
