"""Node and edge encoders registered into GraphGym."""

from graphgps_ext.encoder.edge import ExpanderEdgeEncoder
from graphgps_ext.encoder.node import LinearNodeEncoder

__all__ = ['ExpanderEdgeEncoder', 'LinearNodeEncoder']
