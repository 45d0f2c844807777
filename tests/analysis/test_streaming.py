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
from graphgps_ext.analysis.stream import Summary, row_blocks

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


def test_summary_of_blocks_is_that_of_all_values():
    values = np.random.default_rng(0).random(1000) + 1e6  # far from zero: sums of squares would lose digits
    summary = Summary(1e6 + 1, 1e6)
    for part in np.split(values, [1, 10, 500]):
        summary.add(np.append(part, np.nan))
    assert summary.columns()['nodes'] == 1000
    assert summary.columns()['mean'] == pytest.approx(values.mean(), rel=1e-15)
    assert summary.columns()['std'] == pytest.approx(values.std(), rel=1e-8)
    median = np.quantile(values, 0.5, method='inverted_cdf')
    assert summary.columns()['median'] == pytest.approx(median, abs=1 / 4096)


def test_summary_of_nothing_is_not_a_number():
    columns = Summary(1.0).columns()
    assert columns.pop('nodes') == 0
    assert all(np.isnan(value) for value in columns.values())
