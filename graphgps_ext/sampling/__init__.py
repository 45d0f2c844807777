"""Sampling of in-neighbours in proportion to attention scores, and the neighbourhoods of mini-batches."""

from graphgps_ext.sampling.neighborhood import LayeredNeighborhood, layered_neighborhood
from graphgps_ext.sampling.neighbors import sample_neighbors
from graphgps_ext.sampling.random import stream_key

__all__ = ['LayeredNeighborhood', 'layered_neighborhood', 'sample_neighbors', 'stream_key']
