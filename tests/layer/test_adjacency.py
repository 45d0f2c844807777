"""Edges as sparse matrices: what their rows hold, and that convolutions give the same on them."""

from __future__ import annotations

import torch
from torch_geometric.nn import GCNConv, SAGEConv

from graphgps_ext.layer.adjacency import adjacency, normalized_adjacency


def test_adjacency_has_a_row_for_each_target() -> None:
    edge_index = torch.tensor([[3, 0, 2], [0, 1, 1]])
    dense = adjacency(edge_index, torch.zeros(4, 1)).to_dense()
    assert dense.nonzero().tolist() == [[0, 3], [1, 0], [1, 2]] and dense.sum() == 3
    with torch.autocast('cpu', torch.bfloat16):
        assert adjacency(edge_index, torch.zeros(4, 1)) is edge_index


def test_normalized_adjacency_serves_a_convolution_that_does_not_normalize() -> None:
    edge_index = torch.tensor([[3, 0, 2, 2], [0, 1, 1, 2]])  # directed, with a self-loop
    x, conv, plain = torch.randn(4, 7), GCNConv(7, 6), GCNConv(7, 6, normalize=False)
    plain.load_state_dict(conv.state_dict())
    torch.testing.assert_close(plain(x, *normalized_adjacency(edge_index, x)), conv(x, edge_index))
    with torch.autocast('cpu', torch.bfloat16):
        edges, weight = normalized_adjacency(edge_index, x)
        assert weight is not None
        torch.testing.assert_close(plain(x, edges, weight), conv(x, edge_index))


def test_adjacency_of_fewer_targets_gives_what_the_list_of_edges_gives() -> None:
    edge_index = torch.tensor([[3, 0, 0, 2], [0, 1, 1, 2]])  # by target; one source of node 1 twice
    x, conv = torch.randn(5, 7), SAGEConv(7, 6)
    matrix = adjacency(edge_index, x, 3)
    assert matrix.shape == (3, 5) and matrix.values().numel() == 4
    torch.testing.assert_close(conv((x, x[:3]), matrix), conv((x, x[:3]), edge_index))
    with torch.autocast('cpu', torch.bfloat16):
        assert adjacency(edge_index, x, 3) is edge_index
