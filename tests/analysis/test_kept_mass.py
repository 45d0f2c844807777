"""The mass that sampling keeps, and the degrees that keep enough of it."""

import itertools

import numpy as np
import pytest
from stores import kept_oracle, random_scores, rows_of, toy_scores

from graphgps_ext.analysis import kept_mass, sampled_kept_mass, suggest_degrees

ROW = [0.4, 0.3, 0.15, 0.1, 0.05]


def exact_kept_mass(weights: list[float], degree: int) -> float:
    """Every ordered draw without replacement with its probability (Plackett–Luce)."""
    expected = 0.0
    for order in itertools.permutations(range(len(weights)), degree):
        probability, left = 1.0, 1.0
        for item in order:
            probability *= weights[item] / left
            left -= weights[item]
        expected += probability * sum(weights[item] for item in order)
    return expected


def test_uniform_attention_keeps_k_of_d():
    table = kept_mass(toy_scores([[[0.1] * 10]]), [1, 4, 9, 10, 50])
    # All t are equal: 10 (1 − e^(−t/10)) = K, so K/10 of the mass is kept.
    assert table['mean'].to_list() == pytest.approx([0.1, 0.4, 0.9, 1, 1], abs=1e-6)


def test_kept_mass_matches_bisection():
    found = random_scores()
    for row in kept_mass(found).itertuples():
        wanted = [kept_oracle(p, row.degree) for p in rows_of(found, row.layer)]
        assert row.mean == pytest.approx(np.mean(wanted), abs=1e-6)


def test_rate_equation_converges_on_rows_of_very_unequal_weights():
    row = [1.0, 1e-3, 1e-6, 1e-9, 1e-12]
    table = kept_mass(toy_scores([[row]]), [1, 2, 3, 4])
    p = np.float32(row).astype(float)
    wanted = [kept_oracle(p / p.sum(), k) for k in (1, 2, 3, 4)]
    assert table['mean'].to_list() == pytest.approx(wanted, abs=1e-6)


def test_edges_without_weight_are_never_kept_nor_needed():
    table = kept_mass(toy_scores([[[0.5, 0.5, 0.0, 0.0]]]), [1, 2])
    assert table['mean'].to_list() == pytest.approx([0.5, 1])


def test_draws_keep_what_the_sampler_should_keep():
    found = toy_scores([[ROW] * 20_000])
    for row in sampled_kept_mass(found, [1, 2, 3], draws=3).itertuples():
        assert row.mean == pytest.approx(exact_kept_mass(ROW, row.degree), abs=0.005)
        assert 0 < row.error < 0.005


def test_rate_equation_is_near_the_exact_mass():
    for k, row in zip((2, 3), kept_mass(toy_scores([[ROW]]), [2, 3]).itertuples(), strict=True):
        assert row.mean == pytest.approx(exact_kept_mass(ROW, k), abs=0.03)


def test_draws_do_not_depend_on_the_size_of_a_block():
    found = random_scores()
    whole, parts = (sampled_kept_mass(found, [2, 4], block_edges=size) for size in (10**6, 1))
    assert whole['mean'].to_list() == pytest.approx(parts['mean'].to_list(), rel=1e-12)


def test_suggested_degrees_keep_the_share_and_one_fewer_does_not():
    found = toy_scores([[ROW] * 5_000, [[0.2] * 5] * 5_000])
    table = suggest_degrees(found, 0.7)
    # Exact: 0.544 at K = 2 and 0.755 at K = 3 in layer 0; 0.6 and 0.8 in layer 1.
    assert table['degree'].to_list() == [3, 4]
    for row, weights in zip(table.itertuples(), (ROW, [0.2] * 5), strict=True):
        assert exact_kept_mass(weights, row.degree) >= 0.7 > exact_kept_mass(weights, row.degree - 1)
        assert row.sampled == pytest.approx(exact_kept_mass(weights, row.degree), abs=0.01)


@pytest.mark.parametrize('share', [0.0, 1.0, 1.5])
def test_a_share_that_cannot_be_kept_is_refused(share):
    with pytest.raises(ValueError, match='needs to lie between 0 and 1, got'):
        suggest_degrees(random_scores(), share)


def test_degrees_and_draws_that_say_nothing_are_refused():
    with pytest.raises(ValueError, match=r'degrees need at least one K, all from 1 up, got \[0, 2\]'):
        kept_mass(random_scores(), [0, 2])
    with pytest.raises(ValueError, match='draws needs to be at least 2, or there is no error to give, got 1'):
        sampled_kept_mass(random_scores(), [2], draws=1)
