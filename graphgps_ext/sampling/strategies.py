"""The named choices of a draw, and the checks of weights and nodes that its parts share."""

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


def check_all_weights(graph: InNeighbors, weights: Tensor) -> None:
    """ValueError if a weight is negative, NaN or infinite; a GPU has to be waited for."""
    check_weights(graph, weights)
    bad = ~((weights >= 0) & (weights < torch.inf))
    if bad.any():
        first = bad.int().argmax()
        raise bad_weight(int(torch.searchsorted(graph.indptr, first, right=True)) - 1)


def bad_weight(node: int) -> ValueError:
    """The error for a weight that is negative, NaN or infinite, in the row of `node`."""
    return ValueError(f'weights must be finite and not negative, an in-edge of node {node} has another one')


def check_nodes(name: str, nodes: Tensor, num_nodes: int | None = None) -> None:
    """ValueError if `nodes` is not int64 of one dimension, or has an id outside of [0, num_nodes).

    For an upper bound a GPU has to be waited for; None = ids are not looked at.
    """
    if nodes.dim() != 1 or nodes.dtype != torch.int64:
        raise ValueError(f'{name} needs one dimension and dtype int64, got {list(nodes.shape)} {nodes.dtype}')
    if num_nodes is not None and nodes.numel():
        low, high = (int(bound) for bound in nodes.aminmax())
        if low < 0 or high >= num_nodes:
            raise ValueError(f'{name} must lie in [0, {num_nodes}), got {low} to {high}')
