"""Counting sort of edges by source, compiled by numba."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from graphgps_ext.ops.numba_threads import kernel, run_chunks

CHUNK_EDGES = 2**18


@kernel()
def _count(first: Any, last: Any, indptr: Any, source: Any, counts: Any) -> None:
    for e in range(indptr[first], indptr[last]):
        j = source[e]
        if j >= 0:
            counts[j] += 1


@kernel()
def _starts(counts: Any, indptr: Any) -> None:
    """Turn counts [chunks, M] into where each chunk writes its first edge of each source."""
    total = 0
    indptr[0] = 0
    for j in range(counts.shape[1]):
        for chunk in range(counts.shape[0]):
            n = counts[chunk, j]
            counts[chunk, j] = total
            total += n
        indptr[j + 1] = total


@kernel()
def _place(
    first: Any, last: Any, indptr: Any, source: Any, edge_type: Any, starts: Any,
    target: Any, out_type: Any, edge_id: Any,
) -> None:  # fmt: skip
    for i in range(first, last):
        for e in range(indptr[i], indptr[i + 1]):
            j = source[e]
            if j < 0:
                continue
            at = starts[j]
            starts[j] = at + 1
            target[at] = i
            out_type[at] = edge_type[e]
            if edge_id.size > 0:
                edge_id[at] = e


def transpose(
    indptr: np.ndarray, source: np.ndarray, edge_type: np.ndarray, num_sources: int, *, with_edge_id: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """See :func:`graphgps_ext.ops.transpose.transpose`; `source` may hold -1 (left out).

    The arrays returned are as long as `source`; edges left out make the end of them undefined.
    """
    num_rows, num_edges = len(indptr) - 1, len(source)
    # A histogram per chunk: few enough that together they stay small beside the edges.
    per_source = num_edges // max(1, num_sources)
    num_chunks = max(1, min(torch.get_num_threads(), 8, num_edges // CHUNK_EDGES, per_source))
    bounds = np.searchsorted(indptr, num_edges * np.arange(num_chunks + 1) // num_chunks)
    bounds[0], bounds[-1] = 0, num_rows
    counts = np.zeros((num_chunks, num_sources), np.int64)
    run_chunks(lambda p: _count(bounds[p], bounds[p + 1], indptr, source, counts[p]), num_chunks)
    out_indptr = np.empty(num_sources + 1, np.int64)
    _starts(counts, out_indptr)
    target = np.empty(num_edges, np.int32 if num_rows < 2**31 else np.int64)
    out_type = np.empty(num_edges, np.int8)
    edge_id = np.empty(num_edges if with_edge_id else 0, np.int32 if num_edges < 2**31 else np.int64)

    def place(p: int) -> None:
        _place(bounds[p], bounds[p + 1], indptr, source, edge_type, counts[p], target, out_type, edge_id)

    run_chunks(place, num_chunks)
    return out_indptr, target, edge_id, out_type
