"""The draw of :func:`~graphgps_ext.sampling.sample_neighbors` on the CPU, on all of torch's threads."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from graphgps_ext.graph import InNeighbors
from graphgps_ext.ops.numba_threads import row_chunks, run_chunks
from graphgps_ext.sampling.kernels import draw_rows
from graphgps_ext.sampling.random import mix_int
from graphgps_ext.sampling.strategies import STRATEGIES, bad_weight
from graphgps_ext.sampling.sums import RowSums


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
    inputs = (
        graph.indptr.numpy(),
        graph.source.numpy(),
        graph.edge_type.numpy(),
        _array(weights, np.float32),
        weights is not None,
        _array(prefix, np.float64),
        _array(guide, np.int32),
        _array(nodes, np.int64),
        nodes is None,
    )
    options = (STRATEGIES.index(strategy), fill == 'repeat', np.uint64(mix_int(key)))
    outputs = (source.numpy(), edge_type.numpy(), edge_id.numpy())
    bounds = row_chunks(inputs[0] if nodes is None else degree * np.arange(num_rows + 1))
    bad_rows = np.full(len(bounds) - 1, -1)

    def draw(chunk: int) -> None:
        bad_rows[chunk] = draw_rows(*inputs, bounds[chunk], bounds[chunk + 1], *options, *outputs)

    run_chunks(draw, len(bad_rows))
    bad_rows = bad_rows[bad_rows >= 0]
    if bad_rows.size:
        raise bad_weight(int(bad_rows[0] if nodes is None else nodes[bad_rows[0]]))
    return source, edge_type, edge_id


def _array(tensor: Tensor | None, dtype: type) -> np.ndarray:
    """The tensor's memory; None becomes an array of no entries, which the kernels know as absent."""
    return np.empty(0, dtype) if tensor is None else tensor.detach().contiguous().numpy()
