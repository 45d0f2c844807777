"""Running sums of sampling weights, made once, with which a draw no longer reads every weight."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from graphgps_ext.ops.neighbors import InNeighbors
from graphgps_ext.ops.numba_threads import run_chunks


@dataclass(frozen=True)
class PrefixWeights:
    weights: Tensor
    prefix: Tensor
    guide: Tensor


def prefix_weights(graph: InNeighbors, weights: Tensor) -> PrefixWeights:
    from graphgps_ext.sampling.kernels import sum_rows
    prefix = torch.empty(graph.num_edges, dtype=torch.float64)
    guide = torch.empty(graph.num_edges//4 + 2*graph.num_nodes+2, dtype=torch.int32)
    sum_rows(graph.indptr.numpy(), weights.numpy(), 0, graph.num_nodes, prefix.numpy(), guide.numpy())
    return PrefixWeights(weights, prefix, guide)
