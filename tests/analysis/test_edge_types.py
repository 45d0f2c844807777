"""Attention mass by edge type."""

import itertools

import pytest
from stores import random_scores, toy_scores

from graphgps_ext.analysis import entropy, mass_by_edge_type

TYPES = [[0, 1, 1, 2], [2], []]


def test_mass_by_edge_type_worked_by_hand():
    table = mass_by_edge_type(toy_scores([[[0.5, 0.25, 0.125, 0.125], [1.0], []]], TYPES)).set_index('name')
    # Means over the two nodes with in-edges; node 1 has a self-loop only.
    assert table['mean'].to_dict() == {'graph': 0.25, 'expander': 0.1875, 'self-loop': 0.5625}
    assert table['edge_share'].to_dict() == {'graph': 0.125, 'expander': 0.25, 'self-loop': 0.625}
    assert table['ratio'].to_dict() == {'graph': 2.0, 'expander': 0.75, 'self-loop': 0.9}


def test_mass_by_edge_type_matches_loops():
    found = random_scores()
    indptr, types = found.graph.indptr.tolist(), found.graph.edge_type.tolist()
    for row in mass_by_edge_type(found).itertuples():
        weights = found.layers[row.layer].double().tolist()
        nodes = [range(a, b) for a, b in itertools.pairwise(indptr) if b > a]
        mass = [
            sum(weights[e] for e in node if types[e] == row.edge_type) / sum(weights[e] for e in node)
            for node in nodes
        ]
        assert row.mean == pytest.approx(sum(mass) / len(mass), rel=1e-9)
    assert mass_by_edge_type(found).groupby('layer')['mean'].sum().to_list() == pytest.approx([1, 1, 1])


def test_edges_that_are_dropped_leave_their_mass_to_the_rest():
    table = mass_by_edge_type(
        toy_scores([[[0.5, 0.25, 0.125, 0.125], [1.0], []]], TYPES), drop_types=[1]
    ).set_index('name')
    assert table['mean'].to_dict() == pytest.approx({'graph': (0.5 / 0.625) / 2, 'self-loop': (0.2 + 1) / 2})


def test_a_node_left_without_edges_or_mass_is_not_counted():
    found = toy_scores([[[0.5, 0.5], [1.0, 0.0], [1.0]]], [[1, 0], [1, 0], [1]])
    table = entropy(found, drop_types=[1])
    assert {*table[table.measure == 'entropy']['nodes']} == {1}


def test_types_of_another_model_are_numbered():
    table = mass_by_edge_type(toy_scores([[[0.5, 0.5]]], [[0, 17]]))
    assert [*table['name']] == ['graph', 'type 17']


def test_an_edge_type_that_cannot_be_is_refused():
    with pytest.raises(ValueError, match='drop_types needs edge types from 0 to 127, got -1'):
        mass_by_edge_type(random_scores(), drop_types=[-1])
