"""Draws by running sums: the same law as the plain draw, by look-ups instead of a pass over the row."""

from collections import Counter

import numpy as np
import pytest
import torch
from sampling_oracles import check_table, equal, excess, graph_of_rows, random_graph, subset_probabilities

from graphgps_ext.graph import NeighborTable
from graphgps_ext.sampling import row_sums, sample_neighbors, stream_key

NUM_ROWS = 40_000
LIMIT = 4.0

# Rows of 26, long enough for K = 1, 2, 3 to be drawn by look-ups. What each makes the draw do:
ROWS = {
    'even': [1.0] * 26,  # few repeats
    'mixed': [0.3, 0.0, 0.2, 0.1, 0.05, 0.0, 0.05, 0.1, 0.05, 0.05, 0.04, 0.03, 0.03] * 2,
    'one heavy edge': [0.01] * 6 + [5.0] + [0.01, 0.02, 0.03, 0.0, 0.01, 0.02] * 3 + [0.1],  # many cut-outs
    'heavy ends': [7.0, *[0.1] * 24, 9.0],
    'heavy edges and dust': [1e-16, 0.0] * 3
    + [1.0]
    + [1e-16, 2e-16, 0.0] * 6
    + [0.5],  # the reservoir ends it
    'two drawable': [0.0] * 5 + [2.0] + [0.0] * 19 + [1e-12],
    'one drawable': [0.0] * 25 + [1e-40],
}


def draws(weights: list[float], degree: int, fill: str = 'mask') -> Counter:
    """How often each sorted set of slots came out of NUM_ROWS equal rows."""
    graph = graph_of_rows([range(len(weights))] * NUM_ROWS, num_sources=len(weights))
    tensor = torch.tensor(weights * NUM_ROWS)
    options = {'strategy': 'weighted', 'fill': fill, 'key': stream_key(8)}
    table = sample_neighbors(graph, tensor, degree, **options, sums=row_sums(graph, tensor))
    return Counter(tuple(item for item in row if item >= 0) for row in table.source.tolist())


@pytest.mark.parametrize('degree', [1, 2, 3])
@pytest.mark.parametrize('name', ROWS)
def test_whole_draws_have_the_plackett_luce_probabilities(name: str, degree: int):
    assert len(ROWS[name]) >= 8 * degree
    exact = [float(np.float32(weight)) for weight in ROWS[name]]
    assert excess(draws(ROWS[name], degree), subset_probabilities(exact, degree)) < LIMIT


def test_draws_from_long_rows_have_the_law_of_plain_draws():
    """Rows of 400 with a few heavy edges: inclusion frequencies of both kinds of draw agree."""
    generator = torch.Generator().manual_seed(0)
    weights = torch.rand(400, generator=generator).pow(6).repeat(5000)
    graph = graph_of_rows([range(400)] * 5000, num_sources=400)
    options = {'strategy': 'weighted', 'fill': 'mask'}
    counts = []
    for sums in (None, row_sums(graph, weights)):
        tables = [
            sample_neighbors(graph, weights, 20, **options, key=stream_key(key), sums=sums)
            for key in range(3)
        ]
        neighbors = torch.cat([table.source for table in tables])
        counts.append(neighbors.flatten().bincount(minlength=400).double())
    plain, prepared = counts
    seen = plain + prepared >= 20
    chi_square = ((plain - prepared)[seen] ** 2 / (plain + prepared)[seen]).sum().item()
    assert (
        chi_square < seen.sum() + LIMIT * (2 * seen.sum()).sqrt()
    )  # without replacement it is a little less


@pytest.mark.parametrize('fill', ['mask', 'repeat'])
@pytest.mark.parametrize('degree', [1, 4, 17])
def test_rows_hold_distinct_drawable_edges_in_order_then_what_fill_says(fill: str, degree: int):
    graph, weights = random_graph(80, 130)
    for scale in (weights, weights.pow(20), weights * (torch.arange(weights.numel()) % 9 == 0)):
        sums = row_sums(graph, scale)
        table = sample_neighbors(graph, scale, degree, strategy='weighted', fill=fill, key=1, sums=sums)
        check_table(graph, scale, table, torch.arange(80), fill)


def test_rows_are_a_function_of_key_and_node():
    graph, weights = random_graph(5000, 80)
    sums = row_sums(graph, weights)
    nodes = torch.randperm(5000, generator=torch.Generator().manual_seed(0))[:700]
    options = {'strategy': 'weighted', 'fill': 'repeat', 'key': 5}
    threads = torch.get_num_threads()
    try:
        for number in (1, 2, 5):
            torch.set_num_threads(number)
            whole = sample_neighbors(graph, weights, 5, **options, sums=sums)
            again = row_sums(graph, weights)
            some = sample_neighbors(graph, weights, 5, **options, nodes=nodes, sums=again)
            assert whole.edge_id is not None
            rows = NeighborTable(whole.source[nodes], whole.edge_type[nodes], 5000, whole.edge_id[nodes])
            assert equal(some, rows)
    finally:
        torch.set_num_threads(threads)
    other = sample_neighbors(graph, weights, 5, **options | {'key': 6}, sums=sums)
    assert other.edge_id is not None
    assert (other.edge_id == whole.edge_id)[graph.degree() > 40].all(1).double().mean() < 0.01


@pytest.mark.parametrize('strategy', ['uniform', 'top'])
def test_other_strategies_leave_the_sums_aside(strategy: str):
    graph, weights = random_graph(100, 90)
    first, second = (
        sample_neighbors(graph, weights, 4, strategy=strategy, fill='mask', key=2, sums=sums)
        for sums in (None, row_sums(graph, weights))
    )
    assert equal(first, second)


def test_running_sums_are_those_of_each_row():
    graph, weights = random_graph(300, 70)
    prefix = row_sums(graph, weights).prefix
    for node in range(300):
        row = slice(graph.indptr[node], graph.indptr[node + 1])
        torch.testing.assert_close(prefix[row], weights[row].double().cumsum(0), rtol=0, atol=0)


@pytest.mark.parametrize('value', [float('nan'), -1.0, float('inf')])
def test_a_bad_weight_names_the_first_node(value: float):
    graph = graph_of_rows([range(30)] * 60)
    weights = torch.ones(graph.num_edges)
    weights[graph.indptr[[20, 41]]] = value
    with pytest.raises(ValueError, match=r'finite and not negative, an in-edge of node 20 has another one'):
        row_sums(graph, weights)


def test_weights_of_another_shape_are_refused():
    graph, weights = random_graph(20, 30)
    with pytest.raises(ValueError, match=r'weights needs shape \[\d+\] and dtype float32, got \[3\]'):
        row_sums(graph, weights[:3])


def test_empty_graphs_can_be_prepared():
    for rows in ([], [[]], [[], []]):
        graph = graph_of_rows(rows)
        weights = torch.empty(0)
        sums = row_sums(graph, weights)
        table = sample_neighbors(graph, weights, 3, strategy='weighted', fill='mask', key=0, sums=sums)
        assert table.source.tolist() == [[-1] * 3] * len(rows)
