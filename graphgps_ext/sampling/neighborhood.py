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
from graphgps_ext.sampling.relabel import make_relabeler
from graphgps_ext.sampling.strategies import check_nodes


@dataclass(frozen=True)
class LayeredNeighborhood:
    """The sampled computation graph of S seed nodes through L layers, layer 0 nearest the input.

    Layer l reads the first N_l entries of `n_id` and computes the first N_{l+1}: the nodes of a layer are a
    prefix of those of the layer before it, and the first S = N_L are the seeds in the order given.

    Args:
        n_id: [N_0] int64, ids of the nodes in the whole graph, without duplicates.
        layers: L tables; table l has N_{l+1} rows, and its neighbours index the first N_l entries of `n_id`.

    Raises:
        ValueError: if the counts do not fit together. Ids are not looked at.
    """

    n_id: Tensor
    layers: tuple[NeighborTable, ...]

    def __post_init__(self) -> None:
        check_nodes('n_id', self.n_id)
        for layer, (num_inputs, table) in enumerate(zip(self.num_nodes, self.layers, strict=False)):
            if table.num_nodes > num_inputs:
                raise ValueError(f'num_nodes must not increase, got {self.num_nodes}')
            if table.num_sources != num_inputs:
                raise ValueError(
                    f'layer {layer} must read {num_inputs} nodes, its table has {table.num_sources}'
                )

    @property
    def num_nodes(self) -> tuple[int, ...]:
        """N_0, ..., N_L, not increasing."""
        return (self.n_id.numel(), *(table.num_nodes for table in self.layers))

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
    num_nodes = plan.graph.num_nodes
    check_nodes('seeds', seeds, num_nodes)
    if seeds.numel() == num_nodes and torch.equal(seeds, torch.arange(num_nodes, device=seeds.device)):
        return LayeredNeighborhood(
            seeds, tuple(plan.draw(layer, None, key) for layer in range(plan.num_layers))
        )
    relabeler = make_relabeler(num_nodes, seeds.device)
    relabeler.add(seeds)
    distinct = relabeler.n_id.numel()
    if distinct != seeds.numel():
        raise ValueError(f'seeds must be distinct, got {seeds.numel()} with {distinct} different ones')
    layers: list[NeighborTable] = []
    for layer in reversed(range(plan.num_layers)):
        table = plan.draw(layer, relabeler.n_id, key)
        source = relabeler.add(table.source)
        layers.insert(0, replace(table, source=source, num_sources=relabeler.n_id.numel()))
    return LayeredNeighborhood(relabeler.n_id, tuple(layers))
