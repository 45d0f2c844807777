"""Prediction and score-dumping heads registered into GraphGym.

A whole graph is served by GraphGym's own head `node`, which selects the nodes of the batch's split.
"""

from graphgps_ext.head.scores import AttentionScoresHead
from graphgps_ext.head.seed_node import SeedNodeHead

__all__ = ['AttentionScoresHead', 'SeedNodeHead']
