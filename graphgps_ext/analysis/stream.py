"""Rows of an attention graph in blocks of bounded size, and summaries over nodes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from graphgps_ext.analysis.kernels import normalize_rows
from graphgps_ext.graph import InNeighbors
from graphgps_ext.ops.numba_threads import row_chunks, row_ranges, run_chunks

BLOCK_EDGES = 1 << 21  # a block of two layers and its copies take about 100 MB
NUM_TYPES = 128  # what int8 holds

# [E] weights of one layer, or a function that makes those of the edges start:stop.
Weights = Tensor | Callable[[int, int], NDArray[Any]]


@dataclass(frozen=True)
class RowBlock:
    """The in-edges of n consecutive nodes.

    Args:
        first: the first of these nodes.
        indptr: [n + 1] int64, from 0.
        edge_type: [e] int8.
        weights: [V, e] float64; each non-empty row sums to one in each of the V vectors.
    """

    first: int
    indptr: NDArray[np.int64]
    edge_type: NDArray[np.int8]
    weights: NDArray[np.float64]

    @property
    def degree(self) -> NDArray[np.int64]:
        """[n] int64, the number of in-edges."""
        return np.diff(self.indptr)

    def measure(self, kernel: Callable[..., None], arrays: Sequence[Any], out: NDArray[np.float64]) -> None:
        """Fills `out` [n, ...] by a function of :mod:`.kernels`, on torch's threads."""
        bounds = row_chunks(self.indptr)
        block = (self.indptr, self.edge_type, *self.weights, *arrays)
        run_chunks(lambda c: kernel(*block, bounds[c], bounds[c + 1], out), len(bounds) - 1)


def row_blocks(
    graph: InNeighbors,
    vectors: Sequence[Weights],
    *,
    drop_types: Sequence[int] = (),
    block_edges: int | None = None,
) -> Iterator[RowBlock]:
    """The graph in blocks of about `block_edges` in-edges (at least one row), rows normalised to sum one.

    Args:
        graph: the attention graph.
        vectors: V vectors of weights of its edges.
        drop_types: edges of these types are left out, and what stays of a row is divided by its sum.
        block_edges: E or more gives a single block; default `BLOCK_EDGES`.

    A row without edges, or without mass in one of the vectors, is empty in the block.

    Raises:
        ValueError: if an edge type is none.
    """
    keep = np.ones(NUM_TYPES, np.bool_)
    for edge_type in drop_types:
        if not 0 <= edge_type < NUM_TYPES:
            raise ValueError(f'drop_types needs edge types from 0 to {NUM_TYPES - 1}, got {edge_type}')
        keep[edge_type] = False
    indptr, types = graph.indptr.numpy(), graph.edge_type.numpy()
    for first, last in row_ranges(indptr, block_edges or BLOCK_EDGES):
        start, stop = int(indptr[first]), int(indptr[last])
        weights = np.empty((len(vectors), stop - start))
        for row, vector in zip(weights, vectors, strict=True):
            row[:] = vector[start:stop].numpy() if isinstance(vector, Tensor) else vector(start, stop)
        arrays = normalize_rows(indptr[first : last + 1] - start, types[start:stop], keep, weights)
        yield RowBlock(first, *arrays)


def node_values(
    graph: InNeighbors,
    vectors: Sequence[Weights],
    kernel: Callable[..., None],
    width: tuple[int, ...],
    *arrays: Any,
    drop_types: Sequence[int] = (),
    block_edges: int | None = None,
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """What `kernel` finds for every node, and the number of in-edges that it looked at.

    The edges pass in blocks; what stays is some float64 numbers for each node, of one layer at a time: up to
    21 of them, 0.4 GB, on 2.4 million nodes with 197 million edges, whose scores take 0.8 GB for each layer.

    Args, beside those of :func:`row_blocks`:
        kernel: of :mod:`.kernels`.
        width: of the values of a node.
        arrays: what the kernel takes after the weights.

    Returns:
        values [N, *width] and degree [N].
    """
    values, degree = np.empty((graph.num_nodes, *width)), np.empty(graph.num_nodes, np.int64)
    for block in row_blocks(graph, vectors, drop_types=drop_types, block_edges=block_edges):
        rows = slice(block.first, block.first + block.degree.size)
        degree[rows] = block.degree
        block.measure(kernel, arrays, values[rows])
    return values, degree


def over_nodes(values: NDArray[Any]) -> dict[str, float]:
    """nodes, mean, std (population) and the quantiles q10, median and q90 of the values [n] that are not NaN.

    A quantile is the value of a node, the first that so large a share of nodes does not exceed; without
    values all is NaN.
    """
    values = values[~np.isnan(values)]
    if not values.size:
        return {'nodes': 0} | dict.fromkeys(('mean', 'std', 'q10', 'median', 'q90'), float('nan'))
    low, median, high = np.quantile(values, (0.1, 0.5, 0.9), method='inverted_cdf').tolist()
    moments = {'mean': float(values.mean()), 'std': float(values.std())}
    return {'nodes': values.size, **moments, 'q10': low, 'median': median, 'q90': high}
