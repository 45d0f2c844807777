"""Sparse operators over the in-neighbours of a graph."""

from graphgps_ext.ops.attention import Implementation, sparse_attention
from graphgps_ext.ops.transpose import with_transpose

__all__ = ['Implementation', 'sparse_attention', 'with_transpose']
