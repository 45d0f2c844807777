"""Sampling of in-neighbours in proportion to attention scores, and the neighbourhoods of mini-batches."""

from graphgps_ext.sampling.neighborhood import LayeredNeighborhood, layered_neighborhood
from graphgps_ext.sampling.neighbors import sample_neighbors
from graphgps_ext.sampling.neighbors_numba import RowSums, row_sums
from graphgps_ext.sampling.plan import SamplingPlan
from graphgps_ext.sampling.random import signed, stream_key
from graphgps_ext.sampling.strategies import FILLS, STRATEGIES

__all__ = [
    'FILLS',
    'STRATEGIES',
    'LayeredNeighborhood',
    'RowSums',
    'SamplingPlan',
    'layered_neighborhood',
    'row_sums',
    'sample_neighbors',
    'signed',
    'stream_key',
]
