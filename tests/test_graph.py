"""The two forms of a graph: what both know of their edges, made from PyG's edge_index."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from graphgps_ext.graph import Graph, InNeighbors, NeighborTable, OutNeighbors, graph_edges
from graphgps_ext.ops import with_transpose

Edge = tuple[int, int, int]
Kind = type[InNeighbors] | type[NeighborTable]


@st.composite
def edge_lists(draw: st.DrawFn) -> tuple[list[Edge], int, int]:
    """(source, target, type) of edges among N targets and M sources, repeats included."""
    N, M = draw(st.integers(1, 6)), draw(st.integers(1, 6))
    edge = st.tuples(st.integers(0, M - 1), st.integers(0, N - 1), st.integers(0, 4))
    return draw(st.lists(edge, max_size=12)), N, M


def columns(edges: list[Edge]) -> tuple[Tensor, Tensor]:
    found = torch.tensor(edges, dtype=torch.int64).view(-1, 3).t()
    return found[:2], found[2]


@pytest.mark.parametrize('kind', [InNeighbors, NeighborTable])
@given(drawn=edge_lists())
def test_edges_come_back_by_target_in_their_order(kind: Kind, drawn: tuple[list[Edge], int, int]) -> None:
    edges, N, M = drawn
    edge_index, edge_type = columns(edges)
    graph: Graph = kind.from_edge_index(edge_index, N, edge_type, M)
    by_target = sorted(edges, key=lambda edge: edge[1])
    assert graph.edge_index().t().tolist() == [list(edge[:2]) for edge in by_target]
    assert graph_edges(graph).t().tolist() == [list(edge[:2]) for edge in by_target if edge[2] == 0]
    assert (graph.num_nodes, graph.num_sources, graph.num_edges) == (N, M, len(edges))
    assert graph.degree().tolist() == [sum(edge[1] == node for edge in edges) for node in range(N)]
    assert graph.degree().dtype == torch.int64 and graph.source.dtype == torch.int32
    assert graph.target().shape == graph.source.shape == graph.edge_type.shape
    taken = graph.source >= 0
    assert graph.edge_type[taken].tolist() == [edge[2] for edge in by_target]
    if isinstance(graph, NeighborTable):
        assert graph.width == max(graph.degree().tolist())
        assert graph.edge_id is not None
        assert [edges[i] for i in graph.edge_id[taken].tolist()] == by_target
        assert (graph.edge_id[~taken] == -1).all() and (graph.edge_type[~taken] == 0).all()


@pytest.mark.parametrize('kind', [InNeighbors, NeighborTable])
def test_sizes_and_types_may_be_left_out(kind: Kind) -> None:
    graph = kind.from_edge_index(torch.tensor([[0, 3], [1, 0]]))
    assert (graph.num_nodes, graph.num_sources) == (4, 4) and (graph.edge_type == 0).all()
    empty = kind.from_edge_index(torch.empty(2, 0, dtype=torch.int64))
    assert (empty.num_nodes, empty.num_edges, empty.edge_index().shape[1]) == (0, 0, 0)


@pytest.mark.parametrize('kind', [InNeighbors, NeighborTable])
def test_an_edge_index_that_is_none_is_refused(kind: Kind) -> None:
    edge_index = torch.tensor([[0, 3], [1, 0]])
    with pytest.raises(ValueError, match=r'edge_index needs shape \[2, E\] and integers, got \(3,\)'):
        kind.from_edge_index(torch.arange(3))
    with pytest.raises(ValueError, match=r'a source needs to lie in \[0, 3\), got 3'):
        kind.from_edge_index(edge_index, 3)
    with pytest.raises(ValueError, match=r'a target needs to lie in \[0, 1\), got 1'):
        kind.from_edge_index(edge_index, 1, num_sources=4)
    with pytest.raises(ValueError, match=r'a source needs to lie in \[0, 4\), got -4'):
        kind.from_edge_index(edge_index - 4, 4)
    with pytest.raises(ValueError, match=r'edge_type needs shape \(2,\) and integers, got \(3,\)'):
        kind.from_edge_index(edge_index, edge_type=torch.zeros(3, dtype=torch.int64))


def test_tensors_that_do_not_fit_are_refused() -> None:
    indptr, source, edge_type = torch.tensor([0, 2]), torch.zeros(2).int(), torch.zeros(2).to(torch.int8)
    with pytest.raises(ValueError, match=r'indptr needs dtype int64 and one dimension, got torch\.int32'):
        InNeighbors(indptr.int(), source, edge_type, 1)
    with pytest.raises(ValueError, match=r'source needs shape \[E\] and dtype int32 or int64, got .*float32'):
        InNeighbors(indptr, source.float(), edge_type, 1)
    with pytest.raises(ValueError, match=r'source needs shape \[N, K\] and dtype int32 or int64, got \(2,\)'):
        NeighborTable(source, edge_type, 1)
    with pytest.raises(ValueError, match=r'edge_type needs shape \(2,\) and dtype int8, got \(2,\) .*int64'):
        InNeighbors(indptr, source, edge_type.long(), 1)


@pytest.mark.parametrize('kind', [InNeighbors, NeighborTable])
def test_a_graph_moves_with_all_that_it_holds(kind: Kind) -> None:
    graph = with_transpose(kind.from_edge_index(torch.tensor([[0, 1], [1, 0]])), with_edge_id=True)
    moved = graph.to('meta')
    assert moved.source.is_meta and moved.edge_type.is_meta and moved.num_sources == 2
    assert isinstance(moved.transpose, OutNeighbors) and moved.transpose.edge_id is not None
    assert moved.transpose.indptr.is_meta and moved.transpose.edge_id.is_meta
    assert not graph.source.is_meta
