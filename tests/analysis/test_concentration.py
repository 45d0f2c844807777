"""Entropy, effective number of neighbours and top-k coverage."""

import math

import numpy as np
import pytest
from stores import coverage_oracle, entropy_oracle, random_scores, rows_of, toy_scores

from graphgps_ext.analysis import entropy, topk_coverage

HALF_AND_QUARTERS = toy_scores([[[0.25, 0.5, 0.25], [1.0], []]])


def value(table, layer=0, **wanted):
    for column, wish in {'layer': layer, **wanted}.items():
        table = table[table[column] == wish]
    assert len(table) == 1
    return table.iloc[0]


def test_entropy_worked_by_hand():
    table = entropy(HALF_AND_QUARTERS)
    # Node 0: ½ log 2 + 2 · ¼ log 4 = 1.5 log 2; node 1 has one neighbour; node 2 has none and is not counted.
    assert value(table, measure='entropy')['mean'] == pytest.approx((1.5 * math.log(2) + 0) / 2)
    assert value(table, measure='entropy')['nodes'] == 2
    assert value(table, measure='relative_entropy')['mean'] == pytest.approx(1.5 * math.log(2) / math.log(3))
    assert value(table, measure='relative_entropy')['nodes'] == 1  # log 1 is no measure
    assert value(table, measure='perplexity')['mean'] == pytest.approx((2**1.5 + 1) / 2)
    assert value(table, measure='inverse_simpson')['mean'] == pytest.approx((1 / 0.375 + 1) / 2)
    assert value(table, measure='relative_perplexity')['mean'] == pytest.approx((2**1.5 / 3 + 1) / 2)


@pytest.mark.parametrize('drop_types', [(), (1,)])
def test_entropy_matches_loops(drop_types):
    found = random_scores()
    table = entropy(found, drop_types=drop_types)
    for layer in range(3):
        rows = rows_of(found, layer, drop_types)
        values = [entropy_oracle(row) for row in rows]
        relative = [entropy_oracle(row) / math.log(row.size) for row in rows if row.size > 1]
        assert value(table, layer, measure='entropy')['mean'] == pytest.approx(np.mean(values), rel=1e-9)
        assert value(table, layer, measure='entropy')['std'] == pytest.approx(np.std(values), rel=1e-9)
        assert value(table, layer, measure='relative_entropy')['mean'] == pytest.approx(np.mean(relative))
        simpson = [1 / sum(x**2 for x in row) for row in rows]
        assert value(table, layer, measure='inverse_simpson')['mean'] == pytest.approx(np.mean(simpson))
        perplexity = [math.exp(x) for x in values]
        assert value(table, layer, measure='perplexity')['mean'] == pytest.approx(np.mean(perplexity))


def test_uniform_attention_has_full_entropy_and_as_many_neighbors_as_edges():
    table = entropy(toy_scores([[[1 / 7] * 7, [0.25] * 4]]))
    assert value(table, measure='relative_entropy')['mean'] == pytest.approx(1, abs=1e-6)
    for measure in ('perplexity', 'inverse_simpson'):
        assert value(table, measure=measure)['mean'] == pytest.approx(5.5, abs=1e-5)


def test_rows_need_not_sum_to_one():
    table = entropy(toy_scores([[[1.0, 2.0, 1.0], [3.0], []]]))
    assert (
        value(table, measure='entropy')['mean']
        == value(entropy(HALF_AND_QUARTERS), measure='entropy')['mean']
    )


def test_quantiles_are_those_of_the_nodes():
    found = random_scores(degrees=range(2, 102), num_layers=1)
    row = value(entropy(found), measure='relative_entropy')
    relative = [entropy_oracle(p) / math.log(p.size) for p in rows_of(found, 0)]
    for name, share in (('q10', 0.1), ('median', 0.5), ('q90', 0.9)):
        wanted = np.quantile(relative, share, method='inverted_cdf')
        assert row[name] == pytest.approx(wanted, rel=1e-12)


def test_coverage_worked_by_hand():
    table = topk_coverage(HALF_AND_QUARTERS, counts=[1, 2, 3], shares=[0.5])
    for k, mass in ((1, 0.5), (2, 0.75)):
        row = value(table, kind='count', k=k)
        assert row['mean'] == pytest.approx((mass + 1) / 2)  # node 1 is covered by its one neighbour
        assert row['mean_above'] == pytest.approx(mass)
        assert (row['nodes'], row['nodes_above'], row['covered_above']) == (2, 1, 0)
    last = value(table, kind='count', k=3)
    assert last['mean'] == pytest.approx(1)
    assert last['nodes_above'] == 0 and math.isnan(last['mean_above'])
    assert value(table, kind='share', k=0.5)['mean'] == pytest.approx((0.75 + 1) / 2)  # 2 of 3 edges, 1 of 1


@pytest.mark.parametrize('drop_types', [(), (1, 2)])
def test_coverage_matches_loops(drop_types):
    found = random_scores()
    table = topk_coverage(found, drop_types=drop_types)
    assert {*table[table.kind == 'count']['k']} == {1, 2, 4, 8, 16, 32}
    for row in table.itertuples():
        rows = rows_of(found, row.layer, drop_types)
        ks = [row.k if row.kind == 'count' else math.ceil(round(row.k * p.size, 9)) for p in rows]
        mass = [coverage_oracle(p, int(k)) for p, k in zip(rows, ks, strict=True)]
        assert row.mean == pytest.approx(np.mean(mass), rel=1e-9)
        above = [m for m, k, p in zip(mass, ks, rows, strict=True) if p.size > k]
        assert row.nodes_above == len(above)
        if above:
            assert row.mean_above == pytest.approx(np.mean(above), rel=1e-9)
            assert row.covered_above == pytest.approx(np.mean([m >= 0.9 for m in above]))


def test_a_share_of_the_degree_is_not_rounded_up_by_float_error():
    table = topk_coverage(toy_scores([[[1 / 30] * 30]]), counts=[1], shares=[0.1])
    assert value(table, kind='share', k=0.1)['mean'] == pytest.approx(3 / 30)  # 0.1 · 30 is above 3 in floats


@pytest.mark.parametrize('wrong', [{'counts': [0]}, {'shares': [0.0]}, {'shares': [1.5]}])
def test_impossible_k_is_refused(wrong):
    with pytest.raises(ValueError, match=r'counts need to be at least 1 and shares in \(0, 1\], got'):
        topk_coverage(HALF_AND_QUARTERS, **wrong)
