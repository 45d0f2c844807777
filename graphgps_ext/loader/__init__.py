"""Data sets registered into GraphGym, and the sparse neighbour loader."""

from graphgps_ext.loader.graph import data_fingerprints, load_dataset, load_graph
from graphgps_ext.loader.neighbor_loader import SparseNeighborLoader

__all__ = ['SparseNeighborLoader', 'data_fingerprints', 'load_dataset', 'load_graph']
