"""The expander against networkx, dense eigenvalues and hand-made draws."""

import networkx as nx
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from graphgps_ext.errors import ConfigError
from graphgps_ext.transform.expander import expander_table, has_spectral_gap, second_eigenvalue


def permutation_table(*permutations: list[int]) -> Tensor:
    columns = [c for p in permutations for c in (torch.tensor(p), torch.tensor(p).argsort())]
    return torch.stack(columns, 1).int()


def dense_adjacency(table: Tensor) -> Tensor:
    adjacency = torch.zeros(len(table), len(table), dtype=torch.float64)
    for node, row in enumerate(table.tolist()):
        for neighbor in row:
            if neighbor >= 0:
                adjacency[node, neighbor] += 1
    return adjacency


def multigraph(table: Tensor) -> nx.MultiGraph:
    """Each permutation's edges once; -1 are removed loops."""
    graph = nx.MultiGraph()
    graph.add_nodes_from(range(len(table)))
    graph.add_edges_from((i, j) for i, row in enumerate(table[:, ::2].tolist()) for j in row if j >= 0)
    return graph


@settings(max_examples=40, deadline=None)
@given(
    num_nodes=st.integers(7, 60),
    degree=st.integers(1, 3),
    algorithm=st.sampled_from(['permutation', 'hamiltonian']),
    seed=st.integers(0, 2**40),
)
def test_each_pair_of_columns_is_a_permutation_and_its_inverse(num_nodes, degree, algorithm, seed):
    table = expander_table(num_nodes, degree, algorithm=algorithm, seed=seed).long()
    assert table.shape == (num_nodes, 2 * degree)
    nodes = torch.arange(num_nodes)
    for forward, inverse in zip(table.T[::2], table.T[1::2], strict=True):
        fixed = forward < 0
        assert torch.equal(fixed, inverse < 0)
        forward, inverse = forward.where(~fixed, nodes), inverse.where(~fixed, nodes)
        assert torch.equal(forward.sort().values, nodes)
        assert torch.equal(forward[inverse], nodes)


def test_every_node_has_degree_2r_but_for_removed_loops():
    table = expander_table(500, 4, seed=3)
    degrees = dict(multigraph(table).degree())
    removed = (table < 0).sum(1)
    assert [degrees[i] for i in range(500)] == (8 - removed).tolist()
    assert 0 < removed.sum() < 40  # four permutations have four fixed points on average, two slots each


def test_the_expander_is_symmetric_and_has_no_loops():
    adjacency = dense_adjacency(expander_table(80, 5, seed=0))
    assert torch.equal(adjacency, adjacency.T)
    assert not adjacency.diagonal().any()


def test_a_hamiltonian_cycle_is_one_ring_through_all_nodes():
    table = expander_table(50, 1, algorithm='hamiltonian', seed=5)
    graph = multigraph(table)
    assert nx.is_connected(graph)
    assert {degree for _, degree in graph.degree()} == {2}


def test_the_draw_depends_on_the_seed_alone():
    torch.manual_seed(0)
    np.random.seed(0)  # noqa: NPY002
    states = torch.random.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    first = expander_table(100, 3, seed=1)
    assert torch.equal(states[0], torch.random.get_rng_state())
    assert (states[1] == np.random.get_state()[1]).all()  # noqa: NPY002
    torch.manual_seed(1)
    assert torch.equal(first, expander_table(100, 3, seed=1))
    assert not torch.equal(first, expander_table(100, 3, seed=2))
    assert not torch.equal(first, expander_table(100, 3, seed=1, algorithm='hamiltonian'))


@pytest.mark.parametrize('num_nodes', [1, 2, 5, 6])
def test_a_graph_too_small_for_the_degree_becomes_complete(num_nodes):
    table = expander_table(num_nodes, 3)
    assert table.shape == (num_nodes, num_nodes - 1)
    expected = 1 - torch.eye(num_nodes, dtype=torch.float64)
    assert torch.equal(dense_adjacency(table), expected)


def test_one_node_more_is_a_draw_again():
    assert expander_table(7, 3).shape == (7, 6)


@pytest.mark.parametrize('degree', [2, 3, 8])
def test_the_second_eigenvalue_is_exact_with_enough_steps_and_low_by_few_percent_with_few(degree):
    table = expander_table(120, degree, algorithm='hamiltonian', seed=degree)
    exact = torch.linalg.eigvalsh(dense_adjacency(table))[-2].item()
    assert second_eigenvalue(table, steps=119) == pytest.approx(exact, abs=2e-3)
    assert 0.93 * exact < second_eigenvalue(table) < exact + 2e-3


def test_loops_cancel_in_the_laplacian():
    table = permutation_table([0, 2, 3, 4, 5, 1], [1, 2, 0, 4, 5, 3], [3, 4, 5, 0, 1, 2])
    adjacency = dense_adjacency(table)
    without = adjacency - adjacency.diagonal().diag()
    laplacian = without.sum(1).diag() - without
    expected = torch.linalg.eigvalsh(laplacian)[1].item()
    assert 6 - second_eigenvalue(table, steps=5) == pytest.approx(expected, abs=1e-3)


def test_the_spectral_check_rejects_a_disconnected_union():
    half = expander_table(1000, 3, algorithm='hamiltonian')
    assert has_spectral_gap(half)
    assert not has_spectral_gap(torch.cat([half, half + 1000]))
    lone = torch.cat([half, torch.full((1, 6), 1000, dtype=half.dtype)])  # a node of loops only
    assert not has_spectral_gap(lone)


def test_the_spectral_check_rejects_a_connected_graph_with_a_bottleneck():
    half = expander_table(1000, 3, algorithm='hamiltonian').long()
    table = torch.cat([half, half + 1000])
    for node in (0, 1000):  # one cycle of each half, cut open at its first node and joined to the other
        table[half[0, 0] + node, 1] = 1000 - node
    table[0, 0], table[1000, 0] = 1000 + half[0, 0], half[0, 0]
    graph = multigraph(table)
    assert nx.is_connected(graph)
    assert {degree for _, degree in graph.degree()} == {6}
    assert not has_spectral_gap(table.int())


def test_a_poor_draw_is_repeated_with_the_next_sub_seed():
    poor = [s for s in range(200) if _fails(12, 2, s)]
    assert 5 < len(poor) < 100
    for seed in poor[:5]:
        adjacency = dense_adjacency(expander_table(12, 2, seed=seed))
        laplacian = adjacency.sum(1).diag() - adjacency
        assert torch.linalg.eigvalsh(laplacian)[1] >= 4 - 2 * 3**0.5 - 0.1 - 1e-3


def _fails(num_nodes: int, degree: int, seed: int) -> bool:
    try:
        expander_table(num_nodes, degree, seed=seed, max_tries=1)
    except ConfigError:
        return True
    return False


def test_giving_up_names_the_key():
    seed = next(s for s in range(200) if _fails(12, 2, s))
    with pytest.raises(
        ConfigError, match=r'degree 2 on 12 nodes .* gap 0\.436 in 1 tries \(raise prep\.exp_deg'
    ):
        expander_table(12, 2, seed=seed, max_tries=1)
    expander_table(12, 2, seed=seed, max_tries=1, check_max_nodes=11)  # above the cap nothing is checked


@pytest.mark.parametrize(
    'arguments, message',
    [
        (dict(num_nodes=0, degree=2), r'num_nodes needs to be at least 1, got 0 \(key dataset\.name\)'),
        (dict(num_nodes=9, degree=0), r'degree needs to be at least 1, got 0 \(key prep\.exp_deg\)'),
        (
            dict(num_nodes=9, degree=2, algorithm='ring'),
            r"one of permutation, hamiltonian, got 'ring' \(key prep\.exp_algorithm\)",
        ),
        (dict(num_nodes=9, degree=2, seed=-1), r'seed needs to be at least 0, got -1 \(key prep\.exp_seed\)'),
        (dict(num_nodes=9, degree=2, max_tries=0), r'max_tries needs to be at least 1, got 0'),
    ],
)
def test_bad_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        expander_table(**arguments)
