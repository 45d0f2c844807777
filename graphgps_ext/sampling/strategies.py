"""The named choices of a draw, and the error that both of its implementations raise."""

from __future__ import annotations

STRATEGIES = ('weighted', 'uniform', 'top')  # numbered in this order in the compiled kernels
FILLS = ('mask', 'repeat')


def bad_weight(node: int) -> ValueError:
    """The error for a weight that is negative, NaN or infinite, in the row of `node`."""
    return ValueError(f'weights must be finite and not negative, an in-edge of node {node} has another one')
