"""Counting sort of edges by source and type, compiled by numba."""

from __future__ import annotations

import numpy as np
import torch
from numba import int64

from graphgps_ext.ops.numba_threads import kernel, row_chunks, run_chunks

CHUNK_EDGES = 2**18


@kernel()
def _count(first, last, indptr, source, edge_type, num_types, counts):
    for e in range(indptr[first], indptr[last]):
        j = int64(source[e])
        if j >= 0:
            counts[j * num_types + edge_type[e]] += 1


@kernel()
def _starts(counts, num_types, indptr):
    """Turn counts [chunks, M * T] into where each chunk writes its first edge of each source and type."""
    total = 0
    for key in range(counts.shape[1]):
        if key % num_types == 0:
            indptr[key // num_types] = total
        for chunk in range(counts.shape[0]):
            n = counts[chunk, key]
            counts[chunk, key] = total
            total += n
    indptr[indptr.size - 1] = total


@kernel()
def _place(first, last, indptr, source, edge_type, num_types, starts, target, out_type, edge_id):
    for i in range(first, last):
        for e in range(indptr[i], indptr[i + 1]):
            j = int64(source[e])
            if j < 0:
                continue
            key = j * num_types + edge_type[e]
            at = starts[key]
            starts[key] = at + 1
            target[at] = i
            out_type[at] = edge_type[e]
            if edge_id.size > 0:
                edge_id[at] = e


def transpose(
    indptr: np.ndarray,
    source: np.ndarray,
    edge_type: np.ndarray,
    num_sources: int,
    num_types: int,
    *,
    with_edge_id: bool,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray | None]:
    """See :func:`graphgps_ext.ops.transpose.transpose`; `source` may hold -1 (left out).

    The arrays returned are as long as `source`; edges left out make the end of them undefined.
    """
    num_rows, num_edges = len(indptr) - 1, len(source)
    # A histogram per chunk: few enough that together they stay small beside the edges.
    per_source = num_edges // max(1, num_sources * num_types)
    num_chunks = max(1, min(torch.get_num_threads(), 8, num_edges // CHUNK_EDGES, per_source))
    bounds = row_chunks(indptr, num_chunks)
    counts = np.zeros((num_chunks, num_sources * num_types), np.int64)

    def count(p: int) -> None:
        _count(bounds[p], bounds[p + 1], indptr, source, edge_type, num_types, counts[p])

    run_chunks(count, num_chunks)
    out_indptr = np.empty(num_sources + 1, np.int64)
    _starts(counts, num_types, out_indptr)
    target = np.empty(num_edges, np.int32 if num_rows < 2**31 else np.int64)
    out_type = np.empty(num_edges, np.int8)
    edge_id = np.empty(num_edges if with_edge_id else 0, np.int32 if num_edges < 2**31 else np.int64)

    def place(p: int) -> None:
        _place(
            bounds[p], bounds[p + 1], indptr, source, edge_type, num_types, counts[p],
            target, out_type, edge_id,
        )  # fmt: skip

    run_chunks(place, num_chunks)
    return out_indptr, target, out_type, edge_id if with_edge_id else None
