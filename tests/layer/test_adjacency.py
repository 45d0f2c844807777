"""Edges as sparse matrices: what their rows hold, and that convolutions give the same on them."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import nn
from torch_geometric.nn import GCNConv, SAGEConv

from graphgps_ext.layer.adjacency import adjacency, normalized_adjacency, product, use_products


def test_adjacency_has_a_row_for_each_target() -> None:
    edge_index = torch.tensor([[3, 0, 2], [0, 1, 1]])
    dense = adjacency(edge_index, torch.zeros(4, 1)).to_dense()
    assert dense.nonzero().tolist() == [[0, 3], [1, 0], [1, 2]] and dense.sum() == 3


def test_normalized_adjacency_serves_a_convolution_that_does_not_normalize() -> None:
    edge_index = torch.tensor([[3, 0, 2, 2], [0, 1, 1, 2]])  # directed, with a self-loop
    x, conv, plain = torch.randn(4, 7), GCNConv(7, 6), GCNConv(7, 6, normalize=False)
    plain.load_state_dict(conv.state_dict())
    torch.testing.assert_close(plain(x, *normalized_adjacency(edge_index, x)), conv(x, edge_index))


def test_adjacency_of_fewer_targets_gives_what_the_list_of_edges_gives() -> None:
    edge_index = torch.tensor([[3, 0, 0, 2], [0, 1, 1, 2]])  # by target; one source of node 1 twice
    x, conv = torch.randn(5, 7), SAGEConv(7, 6)
    matrix = adjacency(edge_index, x, 3)
    assert matrix.shape == (3, 5) and matrix.values().numel() == 4
    torch.testing.assert_close(conv((x, x[:3]), matrix), conv((x, x[:3]), edge_index))


def test_products_give_what_torch_gives_and_keep_the_transpose() -> None:
    edge_index = torch.tensor([[3, 0, 2, 1], [0, 1, 1, 4]])
    matrix = adjacency(edge_index, torch.zeros(5, 1))
    grads = []
    for multiply in (product, torch.mm):
        x = torch.randn(5, 3, generator=torch.Generator().manual_seed(0), requires_grad=True)
        (multiply(matrix, x) ** 2).sum().backward()
        grads.append(x.grad)
    torch.testing.assert_close(*grads)
    kept = matrix.transpose_kept
    product(matrix, x).sum().backward()
    assert matrix.transpose_kept is kept
    torch.testing.assert_close(kept.to_dense(), matrix.to_dense().T)
    assert torch.autograd.gradcheck(
        partial(product, matrix.double()), torch.randn(5, 3, dtype=torch.float64, requires_grad=True)
    )


@pytest.mark.parametrize('make', [GCNConv, SAGEConv])
def test_convolutions_use_products(make: type[nn.Module]) -> None:
    edge_index = torch.tensor([[3, 0, 2, 1], [0, 1, 1, 4]])
    options = {'normalize': False} if make is GCNConv else {}
    x, conv = torch.randn(5, 7), make(7, 6, **options)
    matrix = adjacency(edge_index, x)
    wanted = conv(x, edge_index)
    use_products(conv)
    torch.testing.assert_close(conv(x, matrix), wanted)
    conv(x.requires_grad_(), matrix).sum().backward()
    assert hasattr(matrix, 'transpose_kept')
    with torch.autocast('cpu', torch.bfloat16):  # for which torch has no sparse product
        torch.testing.assert_close(conv(x, matrix).float(), wanted, atol=0.1, rtol=0.1)
