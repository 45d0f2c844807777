"""Sampling of in-neighbours in proportion to attention scores, and the neighbourhoods of mini-batches."""

from graphgps_ext.sampling.neighborhood import LayeredNeighborhood, layered_neighborhood
from graphgps_ext.sampling.neighbors import sample_neighbors
from graphgps_ext.sampling.prefix import PrefixWeights, prefix_weights
from graphgps_ext.sampling.random import stream_key

__all__ = [
    'LayeredNeighborhood',
    'PrefixWeights',
    'layered_neighborhood',
    'prefix_weights',
    'sample_neighbors',
    'stream_key',
]
