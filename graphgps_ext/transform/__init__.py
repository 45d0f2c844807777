"""Transforms of the input graph: expander edges and the attention graph; splits are in `transform.split`."""

from graphgps_ext.transform.attention_graph import AttentionGraph, attention_graph, graph_share, kept_share
from graphgps_ext.transform.expander import expander_table

__all__ = ['AttentionGraph', 'attention_graph', 'expander_table', 'graph_share', 'kept_share']
