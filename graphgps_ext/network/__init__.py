"""Networks registered into GraphGym."""

from graphgps_ext.network.transformer import Estimator, SparseTransformer

__all__ = ['Estimator', 'SparseTransformer']
