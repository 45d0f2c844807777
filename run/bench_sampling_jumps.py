"""Exponential jumps (A-ExpJ, Efraimidis & Spirakis 2006) over running sums, to compare in bench_sampling.py.

The textbook's way to skip edges of a long row: after K edges, the next one to enter the reservoir is found by
one exponential number and a search in the running sums. About K·log(degree/K) of both per row.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from graphgps_ext.graph import InNeighbors
from graphgps_ext.ops.numba_threads import kernel, run_chunks
from graphgps_ext.sampling.kernels import row_key, uniform
from graphgps_ext.sampling.neighbors_numba import chunk_bounds
from graphgps_ext.sampling.random import mix_int


def draw_by_jumps(
    graph: InNeighbors, weights: Tensor, prefix: Tensor, degree: int, key: int, nodes: Tensor | None
) -> Tensor:
    """Edges [n, K], ascending, -1 = empty; `weights` must be positive."""
    nodes = torch.arange(graph.num_nodes) if nodes is None else nodes
    edge_id = torch.empty(nodes.numel(), degree, dtype=torch.int64)
    arrays = [tensor.numpy() for tensor in (graph.indptr, weights, prefix, nodes, edge_id)]
    bounds = chunk_bounds(graph.indptr, nodes, degree)
    mixed_key = np.uint64(mix_int(key))
    run_chunks(lambda c: _draw(*arrays, bounds[c], bounds[c + 1], mixed_key), len(bounds) - 1)
    return edge_id


@kernel(fastmath=False)
def _draw(indptr, weights, prefix, nodes, edge_id, first, last, mixed_key):  # type: ignore[no-untyped-def]
    K = edge_id.shape[1]
    keys = np.empty(K)
    edges = np.empty(K, np.int64)
    for i in range(first, last):
        begin, end = indptr[nodes[i]], indptr[nodes[i] + 1]
        row = row_key(mixed_key, nodes[i])
        count = min(K, end - begin)
        drawn = 0
        for k in range(count):
            edges[k] = begin + k
            keys[k] = -math.log(uniform(row, drawn)) / weights[begin + k]
            drawn += 1
        edge = begin + K - 1
        while edge < end:
            worst = keys[:count].argmax()
            mass = prefix[edge] - math.log(uniform(row, drawn)) / keys[worst]
            low, high = edge + 1, end
            while low < high:
                middle = (low + high) >> 1
                if prefix[middle] < mass:
                    low = middle + 1
                else:
                    high = middle
            edge = low
            if edge < end:  # its key is exponential, given that it is below the worst
                below = -math.expm1(-keys[worst] * weights[edge])
                keys[worst] = -math.log1p(-uniform(row, drawn + 1) * below) / weights[edge]
                edges[worst] = edge
            drawn += 2
        edges[:count].sort()
        edge_id[i, :count] = edges[:count]
        edge_id[i, count:] = -1
