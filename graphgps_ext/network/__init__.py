"""Networks registered into GraphGym."""

from graphgps_ext.network import global_attention, message_passing, polynormer  # noqa: F401  (they register)
from graphgps_ext.network.plain import PlainNetwork
from graphgps_ext.network.transformer import Estimator, SparseTransformer

__all__ = ['Estimator', 'PlainNetwork', 'SparseTransformer']
