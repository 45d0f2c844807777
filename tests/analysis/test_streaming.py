"""Blocks and threads change nothing but time and memory."""

from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch
from stores import random_scores

from graphgps_ext.analysis import (
    entropy,
    kept_mass,
    layer_agreement,
    mass_by_edge_type,
    network_distance,
    topk_coverage,
)
from graphgps_ext.analysis.stream import over_nodes, row_blocks

MEASURES = {
    'entropy': entropy,
    'topk_coverage': topk_coverage,
    'mass_by_edge_type': mass_by_edge_type,
    'layer_agreement': layer_agreement,
    'kept_mass': kept_mass,
    'random baseline': partial(network_distance, reference='random'),
}


@pytest.mark.parametrize('name', MEASURES)
@pytest.mark.parametrize('block_edges', [1, 13])
def test_blocks_give_what_one_block_gives(name, block_edges):
    found = random_scores(degrees=[*range(40), 0, 0, 200, 0])
    whole = MEASURES[name](found, block_edges=10**9)
    parts = MEASURES[name](found, block_edges=block_edges)
    pd.testing.assert_frame_equal(whole, parts, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize('name', MEASURES)
def test_threads_change_no_bit(name, monkeypatch):
    found = random_scores(degrees=[70] * 4000)  # 280,000 edges: several chunks
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        alone = MEASURES[name](found)
        torch.set_num_threads(3)
        pd.testing.assert_frame_equal(alone, MEASURES[name](found), check_exact=True)
    finally:
        torch.set_num_threads(before)


def test_blocks_are_bounded_and_cover_every_row_once():
    found = random_scores(degrees=[3, 0, 4, 20, 1, 1, 1, 0])
    blocks = list(row_blocks(found.graph, [found.layers[0]], block_edges=7))
    assert [block.first for block in blocks] == [0, 3, 4]
    assert [block.degree.tolist() for block in blocks] == [[3, 0, 4], [20], [1, 1, 1, 0]]


def test_summary_leaves_out_what_is_not_defined():
    found = over_nodes(np.array([3, np.nan, 0, 4, 1, np.nan, 2.0]))
    wanted = {'nodes': 5, 'mean': 2, 'std': np.sqrt(2), 'q10': 0, 'median': 2, 'q90': 4}
    assert found == pytest.approx(wanted, rel=1e-15)
    halves = over_nodes(np.array([0.0, 1.0, 5.0, 7.0]))
    assert (halves['median'], halves['q10'], halves['q90']) == (1, 0, 7)  # no value is made up between two


def test_summary_of_nothing_is_not_a_number():
    found = over_nodes(np.array([np.nan]))
    assert found.pop('nodes') == 0
    assert len(found) == 5 and all(np.isnan(value) for value in found.values())
