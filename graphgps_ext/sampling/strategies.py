"""The named choices of a draw, and what all of its implementations say about weights."""

from __future__ import annotations

import torch
from torch import Tensor

from graphgps_ext.graph import InNeighbors

STRATEGIES = ('weighted', 'uniform', 'top')  # numbered in this order in the compiled kernels
FILLS = ('mask', 'repeat')


def check_weights(graph: InNeighbors, weights: Tensor) -> None:
    """ValueError if the weights do not fit the graph in shape or are not float32."""
    if weights.shape != graph.source.shape or weights.dtype != torch.float32:
        raise ValueError(
            f'weights needs shape [{graph.num_edges}] and dtype float32, '
            f'got {list(weights.shape)} {weights.dtype}'
        )


def bad_weight(node: int) -> ValueError:
    """The error for a weight that is negative, NaN or infinite, in the row of `node`."""
    return ValueError(f'weights must be finite and not negative, an in-edge of node {node} has another one')
