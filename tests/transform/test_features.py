"""Features made without labels: normalisation, and positional encodings against dense linear algebra."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from graphgps_ext.transform.features import normalize_features, positional_encodings, standardize

PATH = torch.tensor([[0, 1, 1, 2], [1, 2, 0, 2]])  # 0 - 1 - 2, one edge in both directions, one self-loop


def dense(edge_index: Tensor, num_nodes: int) -> Tensor:
    adjacency = torch.zeros(num_nodes, num_nodes, dtype=torch.float64)
    adjacency[edge_index[0], edge_index[1]] = 1
    adjacency = ((adjacency + adjacency.T) > 0).double()
    return adjacency.fill_diagonal_(0)


def random_graph(num_nodes: int) -> Tensor:
    generator = torch.Generator().manual_seed(3)
    return torch.randint(num_nodes, (2, 3 * num_nodes), generator=generator)


def test_no_normalisation_returns_the_features_themselves() -> None:
    x = torch.rand(3, 2)
    assert normalize_features(x, 'none') is x


def test_row_normalisation_makes_each_row_sum_to_one() -> None:
    x = torch.tensor([[1.0, 3.0], [0.0, 2.0], [0.0, 0.0]])
    expected = torch.tensor([[0.25, 0.75], [0.0, 1.0], [0.0, 0.0]])
    assert torch.equal(normalize_features(x, 'row'), expected)
    assert x[0].tolist() == [1.0, 3.0]  # the caller's features are not touched


def test_standardised_columns_have_mean_0_and_deviation_1_and_constant_ones_are_0() -> None:
    x = torch.tensor([[1.0, 0.1, 0.0], [3.0, 0.1, 0.0], [1.0, 0.1, 0.0], [3.0, 0.1, 0.0]])
    expected = torch.tensor([[-1.0, 0, 0], [1, 0, 0], [-1, 0, 0], [1, 0, 0]])
    torch.testing.assert_close(normalize_features(x, 'standardize'), expected)


def test_unknown_normalisation_is_refused() -> None:
    with pytest.raises(ValueError, match=r"none, row, standardize, got 'rows' \(set dataset.normalize_featu"):
        normalize_features(torch.rand(2, 2), 'rows')


def test_random_walks_of_a_path_come_back_as_worked_by_hand() -> None:
    # From an end one always comes back after two steps with probability 1/2, from the middle with 1.
    expected = standardize(torch.tensor([[0.0, 0.5, 0.0, 0.5], [0.0, 1.0, 0.0, 1.0], [0.0, 0.5, 0.0, 0.5]]))
    torch.testing.assert_close(positional_encodings(PATH, 3, walk_length=4), expected)


@pytest.mark.parametrize('num_nodes', [50, 2100])  # PyG has a dense and a sparse way
def test_random_walks_are_diagonals_of_powers(num_nodes: int) -> None:
    edge_index = random_graph(num_nodes)
    adjacency = dense(edge_index, num_nodes)
    step = adjacency / adjacency.sum(1, keepdim=True).clamp(min=1)
    powers = [torch.linalg.matrix_power(step, length).diag() for length in (1, 2, 3)]
    expected = standardize(torch.stack(powers, dim=1)).float()
    torch.testing.assert_close(
        positional_encodings(edge_index, num_nodes, walk_length=3), expected, rtol=1e-3, atol=1e-3
    )


@pytest.mark.parametrize('num_nodes', [60, 150])  # PyG has a dense and a sparse way
def test_eigenvectors_are_those_of_the_smallest_eigenvalues_but_one(num_nodes: int) -> None:
    ring = torch.stack([torch.arange(num_nodes), (torch.arange(num_nodes) + 1) % num_nodes])
    chord = torch.tensor([[0, 0, 5], [7, 20, 33]])  # so that no two eigenvalues are equal
    edge_index = torch.cat([ring, chord], dim=1)
    adjacency = dense(edge_index, num_nodes)
    scale = adjacency.sum(1).rsqrt()
    laplacian = torch.eye(num_nodes) - scale[:, None] * adjacency * scale
    vectors = torch.linalg.eigh(laplacian).eigenvectors[:, 1:4]
    expected = standardize(vectors).float()
    found = positional_encodings(edge_index, num_nodes, eigenvectors=3)
    assert found.dtype == torch.float32
    signs = (found * expected).sum(0).sign()
    torch.testing.assert_close(found * signs, expected, rtol=1e-3, atol=1e-3)


def test_encodings_are_the_same_every_time_and_leave_the_random_state_alone() -> None:
    edge_index = random_graph(150)
    torch.manual_seed(1)
    first = positional_encodings(edge_index, 150, eigenvectors=4, walk_length=2)
    drawn = torch.rand(1)
    torch.manual_seed(1)
    assert torch.equal(drawn, torch.rand(1))
    assert torch.equal(positional_encodings(edge_index, 150, eigenvectors=4, walk_length=2), first)
    assert first.shape == (150, 6)


def test_more_eigenvectors_than_nodes_are_refused() -> None:
    with pytest.raises(
        ValueError, match=r'3 nodes has fewer than 3 eigenvectors .*posenc_LapPE.eigen.max_fr'
    ):
        positional_encodings(PATH, 3, eigenvectors=3)
