"""Stage recipes, registered into GraphGym's `train_dict`."""

from graphgps_ext.train.recipes import train_estimator, train_full_graph, train_spexphormer

__all__ = ['train_estimator', 'train_full_graph', 'train_spexphormer']
