"""What stage 2 draws in each of its layers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from graphgps_ext.graph import InNeighbors, NeighborTable, PerLayer
from graphgps_ext.sampling.kernels import LONG_ROW
from graphgps_ext.sampling.neighbors import layer_key, sample_neighbors
from graphgps_ext.sampling.neighbors_numba import RowSums, row_sums
from graphgps_ext.sampling.strategies import check_all_weights


@dataclass(frozen=True)
class SamplingPlan:
    """What to draw in each layer.

    Args:
        graph: the attention graph.
        scores: for each layer, [E] float32; None for uniform draws. Layers may share a tensor.
        layer_degrees: K of each layer, layer 0 nearest the input.
        strategy: 'weighted', 'uniform' or 'top'.
        fill: 'mask' or 'repeat'.
        per_batch: draw anew for each batch; else batches of one key share one draw.
        edge_attr: optional [E, D] float, features of the graph's edges.
        sums: for each layer, the running sums of its scores or None; see :meth:`prepared`.

    Raises:
        ValueError: if there is not one degree per layer.
    """

    graph: InNeighbors
    scores: Sequence[Tensor | None]
    layer_degrees: Sequence[int]
    strategy: str = 'weighted'
    fill: str = 'mask'
    per_batch: bool = False
    edge_attr: Tensor | None = None
    sums: Sequence[RowSums | None] = ()

    def __post_init__(self) -> None:
        if len(self.scores) != len(self.layer_degrees):
            raise ValueError(
                f'layer_degrees needs {len(self.scores)} entries, one per layer, got '
                f'{len(self.layer_degrees)} (set spex.layer_degrees)'
            )

    @property
    def num_layers(self) -> int:
        """L, the number of layers."""
        return len(self.layer_degrees)

    def draw(self, layer: int, nodes: Tensor | None, key: int | Tensor) -> NeighborTable:
        """The table of one layer for `nodes` (None = all), a function of (key, layer, node).

        On a GPU the host waits for nothing and looks at neither nodes nor scores (:meth:`prepared` does at
        the latter), so the draw can be captured in a CUDA graph. With a key int64 [] on the device each
        replay draws by the number that it then finds there, such as after `key.fill_(signed(stream_key(seed,
        epoch)))`, and as that number would draw by itself.
        """
        return sample_neighbors(
            self.graph,
            self.scores[layer],
            self.layer_degrees[layer],
            strategy=self.strategy,
            fill=self.fill,
            key=layer_key(key, layer),
            nodes=nodes,
            sums=self.sums[layer] if self.sums else None,
            checked=True,
        )

    @cached_property
    def num_types(self) -> int:
        """T, above every edge type."""
        return int(self.graph.edge_type.max()) + 1 if self.graph.num_edges else 1

    def prepared(self) -> SamplingPlan:
        """The plan, ready for many draws: all that needs a look at its numbers is done here.

        On a CPU weighted draws get running sums, in layers whose edges lie in long rows. On a GPU all scores
        are checked, once, and :attr:`num_types` is found, so that nothing waits for the device afterwards.

        Raises:
            ValueError: if a score that is read here is negative, NaN or infinite.
        """
        if self.graph.indptr.is_cuda:
            read = [scores for scores in self.scores if scores is not None and self.strategy != 'uniform']
            PerLayer(read).map(lambda scores: check_all_weights(self.graph, scores))
            _ = self.num_types
            return self
        if self.strategy != 'weighted':
            return self
        degree, half = self.graph.degree(), self.graph.num_edges / 2
        # Layers may share their scores: `map` makes the sums of a tensor once.
        worth = PerLayer(
            scores if int(degree[degree >= LONG_ROW * K].sum()) > half else None
            for scores, K in zip(self.scores, self.layer_degrees, strict=True)
        )
        sums = worth.map(lambda scores: None if scores is None else row_sums(self.graph, scores))
        return replace(self, sums=[*sums])

    def to(self, device: torch.device) -> SamplingPlan:
        """The plan on another device; running sums, which serve draws on a CPU, stay behind."""
        return replace(
            self,
            graph=self.graph.to(device),
            scores=[*PerLayer(self.scores).map(lambda scores: None if scores is None else scores.to(device))],
            edge_attr=None if self.edge_attr is None else self.edge_attr.to(device),
            sums=(),
        )
