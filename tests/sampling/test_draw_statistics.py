"""Frequencies of draws against exact probabilities. Keys are fixed, so nothing here depends on luck."""

import math
from collections import Counter

import pytest
import torch
from draw_cases import INTERPRETED
from sampling_oracles import excess, graph_of_rows, subset_probabilities

from graphgps_ext.sampling import sample_neighbors, stream_key

NUM_ROWS = 6_000 if INTERPRETED else 30_000  # where each operation of a kernel is one in Python
LIMIT = 4.0  # standard deviations of chi-square above its mean; the fixed keys stay well below


def draws(weights: list[float], degree: int, strategy: str = 'weighted', fill: str = 'mask', key: int = 0):
    """[NUM_ROWS, K] neighbours drawn from NUM_ROWS equal rows."""
    graph = graph_of_rows([range(len(weights))] * NUM_ROWS, num_sources=len(weights))
    table = sample_neighbors(
        graph, torch.tensor(weights * NUM_ROWS), degree, strategy=strategy, fill=fill, key=stream_key(key)
    )
    return table.source


def sets(neighbors: torch.Tensor) -> Counter:
    return Counter(tuple(item for item in row if item >= 0) for row in neighbors.tolist())


LONG_ROW = [(1 + i % 7) / 10 for i in range(150)]  # longer than the reservoir's buffer: goes through pruning


@pytest.mark.parametrize('weights', [[0.7, 0.2, 0.1], [5.0, 0.0, 3.0, 1.0, 1e-3], LONG_ROW], ids=len)
def test_first_draws_have_the_frequencies_of_the_weights(implementation: str, weights: list[float]):
    counts = sets(draws(weights, 1))
    total = sum(weights)
    assert excess(counts, {(item,): w / total for item, w in enumerate(weights) if w > 0}) < LIMIT


@pytest.mark.parametrize('degree', [2, 3, 4])
def test_whole_draws_have_the_plackett_luce_probabilities(implementation: str, degree: int):
    weights = [0.45, 0.0, 0.25, 0.15, 0.1, 0.05]
    assert excess(sets(draws(weights, degree)), subset_probabilities(weights, degree)) < LIMIT


def test_uniform_draws_give_every_subset_the_same_probability(implementation: str):
    counts = sets(draws([9.0, 1.0, 0.0, 2.0, 1.0, 1.0], 3, strategy='uniform'))
    assert excess(counts, subset_probabilities([1.0] * 6, 3)) < LIMIT


def test_draws_from_long_rows_have_the_inclusion_probabilities_of_sequential_draws(implementation: str):
    """Weights 1 and 4 in a row of 150: the chance of a heavy item follows from how many are left."""
    weights = [4.0 if i % 3 == 0 else 1.0 for i in range(150)]
    heavy_left = {0: 1.0}  # number of heavy items drawn -> probability, draw after draw
    for drawn in range(5):
        after: dict[int, float] = {}
        for heavy, probability in heavy_left.items():
            mass = 4.0 * (50 - heavy)
            p = mass / (mass + 100 - (drawn - heavy))
            after[heavy + 1] = after.get(heavy + 1, 0.0) + probability * p
            after[heavy] = after.get(heavy, 0.0) + probability * (1 - p)
        heavy_left = after
    neighbors = draws(weights, 5)
    counts = Counter((neighbors % 3 == 0).sum(1).tolist())
    assert excess(counts, heavy_left) < LIMIT
    # and every item of a kind alike, wherever it stands in the row
    share = neighbors.flatten().bincount(minlength=150).double() / NUM_ROWS
    expected = sum(heavy * p for heavy, p in heavy_left.items()) / 50
    assert (share[::3] - expected).abs().max() < 4.5 * math.sqrt(expected / NUM_ROWS)


def test_repeats_are_drawn_in_proportion_to_the_weights(implementation: str):
    weights = [0.6, 0.0, 0.3, 0.1]
    for strategy in ('weighted', 'top'):
        neighbors = draws(weights, 5, strategy=strategy, fill='repeat')
        assert neighbors[:, :3].unique(dim=0).tolist() == [[0, 2, 3]]
        for slot in (3, 4):
            counts = Counter(neighbors[:, slot].tolist())
            assert excess(counts, {0: 0.6, 2: 0.3, 3: 0.1}) < LIMIT
        pairs = Counter(map(tuple, neighbors[:, 3:].tolist()))
        w = {0: 0.6, 2: 0.3, 3: 0.1}
        assert excess(pairs, {(i, j): w[i] * w[j] for i in w for j in w}) < LIMIT


def test_uniform_repeats_ignore_the_weights(implementation: str):
    neighbors = draws([0.9, 0.0, 0.1], 4, strategy='uniform', fill='repeat')
    assert excess(Counter(neighbors[:, 3].tolist()), {0: 1 / 3, 1: 1 / 3, 2: 1 / 3}) < LIMIT


def test_two_keys_give_independent_draws(implementation: str):
    weights = [0.5, 0.3, 0.2]
    first, second = draws(weights, 1, key=1).flatten(), draws(weights, 1, key=2).flatten()
    pairs = Counter(zip(first.tolist(), second.tolist(), strict=True))
    assert (
        excess(pairs, {(i, j): p * q for i, p in enumerate(weights) for j, q in enumerate(weights)}) < LIMIT
    )


def test_rows_of_neighboring_nodes_are_independent(implementation: str):
    weights = [0.5, 0.3, 0.2]
    first, second = draws(weights, 1).view(-1, 2).unbind(1)
    pairs = Counter(zip(first.tolist(), second.tolist(), strict=True))
    assert (
        excess(pairs, {(i, j): p * q for i, p in enumerate(weights) for j, q in enumerate(weights)}) < LIMIT
    )


@pytest.mark.parametrize('wrong', ['uniform', 'squared', 'with_replacement'])
def test_the_limit_catches_a_wrong_sampler(wrong: str):
    weights = [0.45, 0.3, 0.15, 0.1]
    exact = subset_probabilities(weights, 2)
    if wrong == 'uniform':
        counts = sets(draws(weights, 2, strategy='uniform'))
    elif wrong == 'squared':
        counts = sets(draws([w * w for w in weights], 2))
    else:  # inclusion in proportion to the weights, the usual misreading
        pairs = {(i, j): weights[i] * weights[j] for i in range(4) for j in range(i)}
        counts = Counter({(j, i): round(NUM_ROWS * p / sum(pairs.values())) for (i, j), p in pairs.items()})
    assert excess(counts, exact) > 2 * LIMIT
