"""Rows of an attention graph in blocks of bounded size, and summaries over nodes in fixed memory."""

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
_BINS = 4096
_NUM_TYPES = 128  # what int8 holds

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

    def per_row(self, kernel: Callable[..., None], *arrays: Any, width: tuple[int, ...] = ()) -> NDArray[Any]:
        """`out` [n, *width] float64 of a function of :mod:`.kernels`, on torch's threads."""
        out = np.empty((self.indptr.size - 1, *width))
        bounds = row_chunks(self.indptr)
        run_chunks(lambda c: kernel(self.indptr, *arrays, bounds[c], bounds[c + 1], out), len(bounds) - 1)
        return out


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
    block_edges = block_edges or BLOCK_EDGES
    keep = np.ones(_NUM_TYPES, np.bool_)
    for edge_type in drop_types:
        if not 0 <= edge_type < _NUM_TYPES:
            raise ValueError(f'drop_types needs edge types from 0 to {_NUM_TYPES - 1}, got {edge_type}')
        keep[edge_type] = False
    indptr, types = graph.indptr.numpy(), graph.edge_type.numpy()
    for first, last in row_ranges(indptr, block_edges):
        start, stop = int(indptr[first]), int(indptr[last])
        weights = np.empty((len(vectors), stop - start))
        for row, vector in zip(weights, vectors, strict=True):
            row[:] = vector[start:stop].numpy() if isinstance(vector, Tensor) else vector(start, stop)
        arrays = normalize_rows(indptr[first : last + 1] - start, types[start:stop], keep, weights)
        yield RowBlock(first, *arrays)


class Summary:
    """Mean, standard deviation and quantiles over nodes of values that arrive in blocks.

    Quantiles are read from a histogram of 4096 equal bins, so they are exact to range/4096.

    Args:
        high: the largest value possible; the smallest is `low`.
        low: see `high`.
    """

    def __init__(self, high: float, low: float = 0.0) -> None:
        self.low, self.high = low, max(high, low + 1e-12)
        self.count = 0
        self.mean = self.squares = 0.0  # squares: Σ (value − mean)²
        self.bins = np.zeros(_BINS, np.int64)

    def add(self, values: NDArray[Any]) -> None:
        """Count the values [n] that are not NaN."""
        values = values[~np.isnan(values)]
        if not values.size:
            return
        # Chan, Golub and LeVeque (1979): a running mean loses no digits to a large sum of squares.
        mean, count = float(values.mean()), self.count + values.size
        step = mean - self.mean
        self.squares += float(((values - mean) ** 2).sum()) + step**2 * self.count * values.size / count
        self.mean += step * values.size / count
        self.count = count
        place = ((values - self.low) * (_BINS / (self.high - self.low))).astype(np.int64)
        self.bins += np.bincount(place.clip(0, _BINS - 1), minlength=_BINS)

    def quantile(self, share: float) -> float:
        """The middle of the bin that holds the quantile; NaN without values."""
        if not self.count:
            return float('nan')
        place = int(np.searchsorted(np.cumsum(self.bins), share * self.count))
        return self.low + (place + 0.5) * (self.high - self.low) / _BINS

    def columns(self) -> dict[str, float]:
        """nodes, mean, std (over nodes, population), and the quantiles q10, median and q90."""
        found = self.count > 0
        return {
            'nodes': self.count,
            'mean': self.mean if found else float('nan'),
            'std': (self.squares / self.count) ** 0.5 if found else float('nan'),
            'q10': self.quantile(0.1),
            'median': self.quantile(0.5),
            'q90': self.quantile(0.9),
        }
