"""Running sums of sampling weights, made once for many draws: with them a draw need not read every weight."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from graphgps_ext.graph import InNeighbors
from graphgps_ext.sampling.compiled import has_numba
from graphgps_ext.sampling.strategies import bad_weight, check_weights


@dataclass(frozen=True)
class PrefixWeights:
    """Sampling weights with their running sums, see :func:`prefix_weights`. The weights must not change.

    Args:
        weights: [E] float32.
        prefix: [E] float64, running sums within each row. None where draws make no use of it.
        guide: int32, for each row the slots at equal steps of its mass; shortens the search in `prefix`.
    """

    weights: Tensor
    prefix: Tensor | None = None
    guide: Tensor | None = None


def prefix_weights(graph: InNeighbors, weights: Tensor) -> PrefixWeights:
    """Prepares weights that many draws on the CPU will share; costs one pass and 9 bytes per edge.

    A weighted draw then takes K random numbers and look-ups in a row of at least 8 K edges, whatever its
    length, instead of reading the row. (Exponential jumps over the same sums, A-ExpJ of Efraimidis and
    Spirakis, need about K·log(degree/K) of both.) It has the same law as the draw from plain weights, but is
    another draw: one key gives two different samples. On CUDA, and without numba, nothing is prepared and the
    draw is the plain one.

    Args:
        graph: the graph of the draws.
        weights: [E] float32, finite and not negative.

    Raises:
        ValueError: if a weight is negative, NaN or infinite (on the CPU), or of another shape or dtype.
    """
    check_weights(graph, weights)
    if weights.is_cuda or not has_numba():
        return PrefixWeights(weights)
    from graphgps_ext.ops.numba_threads import run_chunks
    from graphgps_ext.sampling.kernels import STRIDE, sum_rows
    from graphgps_ext.sampling.neighbors_numba import chunk_bounds

    weights = weights.detach().contiguous()
    prefix = torch.empty(graph.num_edges, dtype=torch.float64)
    guide = torch.empty(graph.num_edges // STRIDE + 2 * graph.num_nodes, dtype=torch.int32)
    arrays = (graph.indptr.numpy(), weights.numpy())
    bounds = chunk_bounds(graph.indptr, None, 1)
    bad_rows = np.full(len(bounds) - 1, -1)

    def sum_chunk(chunk: int) -> None:
        bad_rows[chunk] = sum_rows(*arrays, bounds[chunk], bounds[chunk + 1], prefix.numpy(), guide.numpy())

    run_chunks(sum_chunk, len(bad_rows))
    if (bad_rows >= 0).any():
        raise bad_weight(int(bad_rows[bad_rows >= 0][0]))
    return PrefixWeights(weights, prefix, guide)
