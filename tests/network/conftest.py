"""Fixtures of the tests of networks."""

from __future__ import annotations

import pytest
from plain_networks import SIDE, WIDTH
from yacs.config import CfgNode


@pytest.fixture
def small(graphgym_cfg: CfgNode) -> CfgNode:
    """Networks of two layers and a grid of 49 nodes."""
    c = graphgym_cfg
    c.dataset.format, c.dataset.name, c.dataset.grid_side = 'grid', 'minesweeper', SIDE
    c.dataset.split_mode, c.dataset.split = 'random', [0.5, 0.25, 0.25]
    c.prep.exp = c.prep.add_self_loops = False
    c.gnn.layers_mp, c.gnn.dim_inner, c.gnn.att_heads, c.gnn.dropout = 2, WIDTH, 2, 0.3
    c.gt.layers, c.gt.dim_hidden, c.gt.n_heads, c.gt.dropout = 2, WIDTH, 1, 0.3
    c.share.num_nodes = SIDE**2
    return c
