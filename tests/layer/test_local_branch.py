"""The local branch: PyG's convolutions, over the graph's own edges and no others."""

from __future__ import annotations

import pytest
import torch
from dense_attention import NUM_NODES, csr, table
from torch import Tensor

from graphgps_ext.graph import NeighborTable, graph_edges
from graphgps_ext.layer.local import LOCAL_GNN_TYPES, OF_SAMPLED_EDGES, LocalBranch

WIDTH = 4
GRAPH_EDGES = {(5, 0), (0, 1), (3, 4), (1, 4)}  # (source, target) of the edges of type 0


@pytest.fixture
def x() -> Tensor:
    return torch.randn(NUM_NODES, WIDTH, generator=torch.Generator().manual_seed(1))


def branch(kind: str, **kwargs: int) -> LocalBranch:
    torch.manual_seed(0)
    return LocalBranch(kind, WIDTH, **kwargs)


def test_graph_edges_are_those_of_their_type_in_both_forms() -> None:
    for graph in (csr(), table()):
        edges = graph_edges(graph)
        assert edges.dtype == torch.int64
        assert {(s, t) for s, t in edges.T.tolist()} == GRAPH_EDGES and edges.shape == (2, 4)


def test_gcn_is_the_normalized_sum_with_self_loops(x: Tensor) -> None:
    local = branch('gcn')
    adjacency = torch.eye(NUM_NODES)
    for source, target in GRAPH_EDGES:
        adjacency[target, source] = 1
    scale = adjacency.sum(1).rsqrt()
    expected = scale[:, None] * adjacency * scale @ x @ local.conv.lin.weight.T + local.conv.bias
    torch.testing.assert_close(local(x, csr()), expected)


@pytest.mark.parametrize('kind', LOCAL_GNN_TYPES)
def test_edges_that_are_given_are_used_instead_of_the_table(kind: str, x: Tensor) -> None:
    local = branch(kind)
    empty = table()
    empty.source[:] = -1
    given = local.edges(graph_edges(csr()), x)
    torch.testing.assert_close(local(x, empty, given), local(x, csr()))
    torch.testing.assert_close(local(x, empty, given), local(x, table()))
    assert not torch.allclose(local(x, empty), local(x, csr()))


@pytest.mark.parametrize('kind', OF_SAMPLED_EDGES)
def test_only_neighbours_and_the_node_itself_are_read(kind: str, x: Tensor) -> None:
    clean = branch(kind)(x, table())
    changed = x.clone()
    changed[2] = 100.0  # no graph edge comes from node 2
    out = branch(kind)(changed, table())
    others = [node for node in range(NUM_NODES) if node != 2]
    torch.testing.assert_close(out[others], clean[others])
    assert not torch.allclose(out[2], clean[2])


def test_sage_is_the_mean_over_the_slots_of_the_graph(x: Tensor) -> None:
    x.requires_grad_()
    local = branch('sage')
    neighbors = torch.tensor([[5, 4, 5], [-1, 0, 2]], dtype=torch.int32)  # unsorted; 5 fills a slot once more
    edge_type = torch.tensor([[0, 0, 0], [0, 0, 1]], dtype=torch.int8)
    out = local(x, NeighborTable(neighbors, edge_type, NUM_NODES))
    mean = torch.stack([(2 * x[5] + x[4]) / 3, x[0]])
    expected = local.conv.lin_l(mean) + local.conv.lin_r(x[:2])
    torch.testing.assert_close(out, expected)
    weight = torch.randn_like(out)
    of_out, of_expected = (torch.autograd.grad((y * weight).sum(), x)[0] for y in (out, expected))
    torch.testing.assert_close(of_out, of_expected)
    with torch.autocast('cpu', torch.bfloat16):
        half = local(x, NeighborTable(neighbors, edge_type, NUM_NODES))
    torch.testing.assert_close(half.float(), expected, rtol=0.05, atol=0.05)


def test_heads_of_gat_share_the_width(x: Tensor) -> None:
    local = branch('gat', heads=2)
    assert local.conv.heads == 2 and local(x, csr()).shape == (NUM_NODES, WIDTH)


def test_unknown_kind_is_refused() -> None:
    with pytest.raises(ValueError, match=r"one of gcn, sage, gat, gatedgcn, got 'gnc' \(set gt.local_gnn_ty"):
        branch('gnc')
