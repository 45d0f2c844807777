"""The lines of the README that use the attention from plain Python."""

from __future__ import annotations

import torch

from graphgps_ext.graph import InNeighbors
from graphgps_ext.layer.attention import SparseAttention
from graphgps_ext.transform import attention_graph


def test_attention_over_a_graph_and_an_expander() -> None:
    x = torch.randn(6, 16)
    edge_index = torch.tensor([[0, 1, 2, 3, 4], [1, 2, 3, 4, 5]])

    graph = attention_graph(edge_index, len(x), expander_degree=2).neighbors  # edges, expander, self-loops
    edge_types = torch.nn.Embedding(3, 16)  # a vector for each of these three types
    attention = SparseAttention(16, heads=4)
    out, weights = attention(x, graph, edge_types.weight, return_weights=True)  # [N, 16], [E, 4]
    out.sum().backward()

    assert out.shape == (6, 16) and weights.shape == (graph.num_edges, 4)
    assert edge_types.weight.grad is not None
    sums = torch.zeros(6, 4).index_add_(0, graph.target(), weights)
    torch.testing.assert_close(sums, torch.ones(6, 4))


def test_attention_over_an_edge_index_alone() -> None:
    x, edge_index = torch.randn(3, 16), torch.tensor([[0, 1, 2, 0], [1, 2, 0, 0]])
    graph = InNeighbors.from_edge_index(edge_index, num_nodes=3)
    out, _ = SparseAttention(16, heads=4)(x, graph, torch.ones(1, 16))
    assert out.shape == (3, 16) and out.isfinite().all()
