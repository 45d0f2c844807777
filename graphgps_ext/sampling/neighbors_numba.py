"""The draw of :func:`~graphgps_ext.sampling.sample_neighbors` on the CPU, on all of torch's threads.

Weights that many draws share are summed up once: with running sums a draw need not read every weight.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from graphgps_ext.graph import InNeighbors
from graphgps_ext.ops.numba_threads import row_chunks, run_chunks
from graphgps_ext.sampling.kernels import STRIDE, Draw, Edges, Weights, draw_rows, sum_rows
from graphgps_ext.sampling.random import mix_int
from graphgps_ext.sampling.strategies import STRATEGIES, bad_weight, check_weights


@dataclass(frozen=True)
class RowSums:
    """Running sums of weights, see :func:`row_sums`.

    Args:
        prefix: [E] float64, running sums within each row.
        guide: int32, for each row the slots at equal steps of its mass; shortens the search in `prefix`.
    """

    prefix: Tensor
    guide: Tensor


def row_sums(graph: InNeighbors, weights: Tensor) -> RowSums:
    """Prepares weights that many draws on the CPU will share; costs one pass and 9 bytes per edge.

    A weighted draw then takes K random numbers and look-ups in a row of at least 8 K edges, whatever its
    length, instead of reading the row. (Exponential jumps over the same sums, A-ExpJ of Efraimidis and
    Spirakis, need about K·log(degree/K) of both.) It has the same law as the draw from weights alone, but is
    another draw: one key gives two different samples.

    Args:
        graph: the graph of the draws, on the CPU.
        weights: [E] float32, finite and not negative.

    Raises:
        ValueError: if a weight is negative, NaN or infinite, or of another shape or dtype.
    """
    check_weights(graph, weights)
    prefix = torch.empty(graph.num_edges, dtype=torch.float64)
    guide = torch.empty(graph.num_edges // STRIDE + 2 * graph.num_nodes, dtype=torch.int32)
    arrays = (graph.indptr.numpy(), weights.detach().contiguous().numpy())
    outputs = (prefix.numpy(), guide.numpy())
    bad_row = _first_bad_row(
        lambda first, last: sum_rows(*arrays, first, last, *outputs), row_chunks(arrays[0])
    )
    if bad_row >= 0:
        raise bad_weight(bad_row)
    return RowSums(prefix, guide)


def draw_numba(
    graph: InNeighbors,
    weights: Tensor | None,
    degree: int,
    strategy: str,
    fill: str,
    key: int,
    nodes: Tensor | None,
    sums: RowSums | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """source, edge_type and edge_id, each [n, K]. ValueError: a bad weight."""
    num_rows = graph.num_nodes if nodes is None else nodes.numel()
    source = torch.empty(num_rows, degree, dtype=graph.source.dtype)
    edge_type = torch.empty(num_rows, degree, dtype=torch.int8)
    edge_id = torch.empty(num_rows, degree, dtype=torch.int64)
    prefix = guide = None
    if sums is not None and strategy == 'weighted':
        prefix, guide = sums.prefix, sums.guide
    indptr = graph.indptr.numpy()
    edges = Edges(indptr, graph.source.numpy(), graph.edge_type.numpy())
    weighting = Weights(
        values=_array(weights, np.float32),
        given=weights is not None,
        prefix=_array(prefix, np.float64),
        guide=_array(guide, np.int32),
    )
    draw = Draw(
        nodes=_array(nodes, np.int64),
        whole=nodes is None,
        strategy=STRATEGIES.index(strategy),
        repeat=fill == 'repeat',
        mixed_key=np.uint64(mix_int(key)),
    )
    arguments = (tuple(edges), tuple(weighting), tuple(draw))
    outputs = (source.numpy(), edge_type.numpy(), edge_id.numpy())
    bounds = row_chunks(indptr if nodes is None else degree * np.arange(num_rows + 1))
    bad_row = _first_bad_row(lambda first, last: draw_rows(first, last, *arguments, *outputs), bounds)
    if bad_row >= 0:
        raise bad_weight(bad_row if nodes is None else int(nodes[bad_row]))
    return source, edge_type, edge_id


def _first_bad_row(work: Callable[[int, int], int], bounds: list[int]) -> int:
    """Calls `work(first, last)` for the ranges of rows between bounds; the first bad row it finds, or −1."""
    found = [-1] * (len(bounds) - 1)

    def run(chunk: int) -> None:
        found[chunk] = work(bounds[chunk], bounds[chunk + 1])

    run_chunks(run, len(found))
    return next((row for row in found if row >= 0), -1)


def _array(tensor: Tensor | None, dtype: type) -> np.ndarray:
    """The tensor's memory; None becomes an array of no entries, which the kernels know as absent."""
    return np.empty(0, dtype) if tensor is None else tensor.detach().contiguous().numpy()
