"""Sparse operators over the in-neighbours of a graph."""

from graphgps_ext.ops.attention import Implementation, set_default_implementation, sparse_attention
from graphgps_ext.ops.neighbors import InNeighbors, NeighborTable, OutNeighbors

__all__ = [
    'Implementation',
    'InNeighbors',
    'NeighborTable',
    'OutNeighbors',
    'set_default_implementation',
    'sparse_attention',
]
