"""The draw of :func:`~graphgps_ext.sampling.sample_neighbors` on the CPU, on all of torch's threads."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from graphgps_ext.graph import InNeighbors
from graphgps_ext.ops.numba_threads import run_chunks
from graphgps_ext.sampling.kernels import draw_rows
from graphgps_ext.sampling.prefix import PrefixWeights
from graphgps_ext.sampling.random import mix_int
from graphgps_ext.sampling.strategies import STRATEGIES, bad_weight

WORK_PER_CHUNK = 16_384  # edges; some 0.2 ms, below which a further thread costs more than it brings


def draw_numba(
    graph: InNeighbors,
    weights: PrefixWeights | None,
    degree: int,
    strategy: str,
    fill: str,
    key: int,
    nodes: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor]:
    """neighbors, edge_type and edge_id, each [n, K]. ValueError: a bad weight."""
    num_rows = graph.num_nodes if nodes is None else nodes.numel()
    neighbors = torch.empty(num_rows, degree, dtype=graph.source.dtype)
    edge_type = torch.empty(num_rows, degree, dtype=torch.int8)
    edge_id = torch.empty(num_rows, degree, dtype=torch.int64)
    prefix = guide = None
    if weights is not None and strategy == 'weighted':
        prefix, guide = weights.prefix, weights.guide
    inputs = (
        graph.indptr.numpy(),
        graph.source.numpy(),
        graph.edge_type.numpy(),
        _array(None if weights is None else weights.weights, np.float32),
        weights is not None,
        _array(prefix, np.float64),
        _array(guide, np.int32),
        _array(nodes, np.int64),
        nodes is None,
    )
    options = (STRATEGIES.index(strategy), fill == 'repeat', np.uint64(mix_int(key)))
    outputs = (neighbors.numpy(), edge_type.numpy(), edge_id.numpy())
    bounds = chunk_bounds(graph.indptr, nodes, degree)
    bad_rows = np.full(len(bounds) - 1, -1)

    def draw(chunk: int) -> None:
        bad_rows[chunk] = draw_rows(*inputs, bounds[chunk], bounds[chunk + 1], *options, *outputs)

    run_chunks(draw, len(bad_rows))
    bad_rows = bad_rows[bad_rows >= 0]
    if bad_rows.size:
        raise bad_weight(int(bad_rows[0] if nodes is None else nodes[bad_rows[0]]))
    return neighbors, edge_type, edge_id


def chunk_bounds(indptr: Tensor, nodes: Tensor | None, degree: int) -> list[int]:
    """Row numbers that split the work into about equal chunks, so that one hub does not hold up the rest."""
    most = 16 * torch.get_num_threads()
    if nodes is None:
        num_rows, num_edges = indptr.numel() - 1, int(indptr[-1])
        num_chunks = max(1, min(most, num_edges // WORK_PER_CHUNK))
        inner = np.searchsorted(indptr.numpy(), np.linspace(0, num_edges, num_chunks + 1)[1:-1])
    else:
        num_rows = nodes.numel()
        num_chunks = max(1, min(most, num_rows * degree // WORK_PER_CHUNK))
        inner = np.linspace(0, num_rows, num_chunks + 1)[1:-1].astype(np.int64)
    return [0, *inner.tolist(), num_rows]


def _array(tensor: Tensor | None, dtype: type) -> np.ndarray:
    """The tensor's memory; None becomes an array of no entries, which the kernels know as absent."""
    return np.empty(0, dtype) if tensor is None else tensor.detach().contiguous().numpy()
