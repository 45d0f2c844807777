"""Distances between networks, between layers and to the baselines."""

import math

import numpy as np
import pytest
import scipy.stats
import torch
from stores import energy_oracle, random_scores, rows_of, toy_scores

from graphgps_ext.analysis import (
    distances,
    layer_agreement,
    network_distance,
    random_weights,
    uniform_weights,
)


def means(table, layer=None):
    if layer is not None:
        table = table[table.layer == layer]
    return dict(zip(table['measure'], table['mean'], strict=True))


def test_distances_worked_by_hand():
    p, q = toy_scores([[[1.0, 0.0]]]), toy_scores([[[0.5, 0.5]]])
    found = means(network_distance(p, q))
    # Values {0, 1} and {½, ½}: 2 E|X − Y| − E|X − X'| − E|Y − Y'| = 2 · ½ − ½ − 0.
    assert found['energy'] == pytest.approx(math.sqrt(0.5))
    assert found['squared'] == pytest.approx(0.5)
    assert found['total_variation'] == pytest.approx(0.5)
    assert math.isnan(found['spearman'])  # the second row is constant


def test_energy_distance_is_blind_to_which_edge_has_which_score():
    p, q = toy_scores([[[0.7, 0.2, 0.1]]]), toy_scores([[[0.1, 0.2, 0.7]]])
    found = means(network_distance(p, q))
    assert found['energy'] == pytest.approx(0, abs=1e-7)
    assert found['total_variation'] == pytest.approx(0.6, abs=1e-6)
    assert found['squared'] == pytest.approx(0.72, abs=1e-6)
    assert found['spearman'] == pytest.approx(-1)


@pytest.mark.parametrize('drop_types', [(), (1,)])
def test_distances_match_loops(drop_types):
    one, other = random_scores(0), random_scores(1)
    table = network_distance(one, other, drop_types=drop_types)
    for layer in range(3):
        pairs = list(zip(rows_of(one, layer, drop_types), rows_of(other, layer, drop_types), strict=True))
        found = means(table, layer)
        assert found['energy'] == pytest.approx(np.mean([energy_oracle(p, q) for p, q in pairs]), rel=1e-9)
        scipy_says = [scipy.stats.energy_distance(p, q) for p, q in pairs]
        assert found['energy'] == pytest.approx(np.mean(scipy_says), rel=1e-9)
        assert found['squared'] == pytest.approx(np.mean([((p - q) ** 2).sum() for p, q in pairs]))
        assert found['total_variation'] == pytest.approx(np.mean([abs(p - q).sum() / 2 for p, q in pairs]))
        ranks = [scipy.stats.spearmanr(p, q).statistic for p, q in pairs if p.size > 1]
        assert found['spearman'] == pytest.approx(np.mean(ranks))


def test_tied_values_are_treated_as_scipy_treats_them():
    p, q = [0.1, 0.1, 0.3, 0.3, 0.2], [0.2, 0.1, 0.3, 0.3, 0.1]
    found = means(network_distance(toy_scores([[p]]), toy_scores([[q]])))
    assert found['spearman'] == pytest.approx(scipy.stats.spearmanr(p, q).statistic)
    assert found['energy'] == pytest.approx(scipy.stats.energy_distance(p, q), abs=1e-6)


def test_a_network_has_no_distance_to_itself():
    found = means(network_distance(random_scores(), random_scores()))
    assert (found['energy'], found['squared'], found['total_variation']) == (0, 0, 0)
    assert found['spearman'] == pytest.approx(1)


def test_uniform_baseline_is_one_over_degree():
    found = random_scores(num_layers=1)
    table = means(network_distance(found, 'uniform'))
    rows = rows_of(found, 0)
    wanted = [energy_oracle(p, np.full(p.size, 1 / p.size)) for p in rows]
    assert table['energy'] == pytest.approx(np.mean(wanted))
    assert table['total_variation'] == pytest.approx(np.mean([abs(p - 1 / p.size).sum() / 2 for p in rows]))


def test_random_baseline_is_uniform_on_the_simplex():
    weights = random_weights(3)(0, 4 * 2000).reshape(2000, 4)
    rows = weights / weights.sum(1, keepdims=True)
    # One coordinate of Dirichlet(1, 1, 1, 1) has the law Beta(1, 3).
    for column in rows.T:
        assert scipy.stats.kstest(column, 'beta', (1, 3)).pvalue > 1e-4


def test_random_baseline_depends_on_seed_and_edge_alone():
    whole = random_weights(5, 1)(0, 100)
    assert np.array_equal(whole[37:61], random_weights(5, 1)(37, 61))
    assert not np.array_equal(whole, random_weights(5, 2)(0, 100))


def test_distances_take_plain_tensors():
    graph = toy_scores([[[0.5, 0.5], [1.0]]]).graph
    table = distances(graph, torch.tensor([3.0, 1.0, 2.0]), uniform_weights())
    assert means(table)['total_variation'] == pytest.approx(0.25 / 2)


def test_layer_agreement_compares_every_two_layers():
    found = random_scores()
    table = layer_agreement(found)
    assert {*zip(table['layer'], table['other_layer'], strict=True)} == {(0, 1), (0, 2), (1, 2)}
    for pair, rows in table.groupby(['layer', 'other_layer']):
        p, q = (rows_of(found, layer) for layer in pair)
        wanted = np.mean([energy_oracle(a, b) for a, b in zip(p, q, strict=True)])
        assert means(rows)['energy'] == pytest.approx(wanted)


def test_one_layer_cannot_be_compared_with_itself():
    with pytest.raises(ValueError, match=r'layers can be compared with each other from 2 on, got 1 \(key gt'):
        layer_agreement(random_scores(num_layers=1))


def test_networks_on_other_edges_are_refused():
    other = random_scores(degrees=(3, 4), expander_degree=0)
    with pytest.raises(
        ValueError, match=r'on the same edges only: one has 65 attention edges of toy.*prep\.exp'
    ):
        network_distance(random_scores(), other)


def test_networks_of_another_depth_are_refused():
    with pytest.raises(
        ValueError, match=r'same number of layers to be compared, got 3 and 2 \(key gt.layers\)'
    ):
        network_distance(random_scores(), random_scores(num_layers=2))


def test_an_unknown_baseline_is_refused():
    with pytest.raises(ValueError, match="a baseline is one of uniform, random, got 'zero'"):
        network_distance(random_scores(), 'zero')
