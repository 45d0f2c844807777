"""The transpose of CSR graphs and tables, by both of its implementations.

Triton's kernel runs on a GPU where there is one, else in its interpreter, which is chosen when a kernel is
defined: a run without a GPU repeats these tests in a process that has TRITON_INTERPRET set.
"""

from __future__ import annotations

import os

import pytest
import torch
from attention_cases import csr, table
from attention_oracle import edge_list

from graphgps_ext.graph import Graph, InNeighbors, OutNeighbors
from graphgps_ext.ops.transpose import transpose, with_transpose

INTERPRETED = os.environ.get('TRITON_INTERPRET') == '1'
ON_GPU = torch.cuda.is_available() and not INTERPRETED


def transposed(implementation: str, graph: Graph, num_types: int) -> OutNeighbors:
    """With edge ids, on the CPU."""
    arrays = (graph.num_sources, num_types)
    if implementation == 'numba':
        return transpose(graph.indptr, graph.source, graph.edge_type, *arrays, with_edge_id=True)
    if not (ON_GPU or INTERPRETED):
        pytest.skip('runs in the interpreter instead, see test_attention_triton.py')
    from graphgps_ext.ops.triton_transpose import transpose_triton

    graph = graph.to('cuda' if ON_GPU else 'cpu')
    made = transpose_triton(graph.indptr, graph.source, graph.edge_type, *arrays, with_edge_id=True)
    return made.to('cpu')


def by_source(graph: Graph) -> list[list[tuple[int, int, int]]]:
    """For each source its out-edges as (target, edge id, type), ascending by type and edge."""
    rows: list[list[tuple[int, int, int]]] = [[] for _ in range(graph.num_sources)]
    for i, edges in enumerate(edge_list(graph)):
        for j, t, e in edges:
            rows[j].append((i, e, t))
    return [sorted(row, key=lambda edge: (edge[2], edge[1])) for row in rows]


GRAPHS = {
    'csr': lambda g: csr([3, 0, 7, 1], 5, 3, g),
    'several programs': lambda g: csr([9, 0, 70, 1] * 8, 5, 3, g),
    'more sources than edges': lambda g: csr([1, 2], 700, 3, g),
    'empty': lambda g: csr([], 3, 3, g),
    'rows without edges': lambda g: csr([0, 0], 3, 3, g),
    'table': lambda g: table(6, 4, 5, 3, g),
    'table of one column': lambda g: table(300, 1, 40, 3, g),
    'table of no rows': lambda g: table(0, 3, 5, 3, g),
}


@pytest.mark.parametrize('implementation', ['numba', 'triton'])
@pytest.mark.parametrize('kind', GRAPHS)
def test_transpose_lists_the_out_edges_of_each_source_by_type(implementation: str, kind: str) -> None:
    graph = GRAPHS[kind](torch.Generator().manual_seed(0))
    out = transposed(implementation, graph, 3)
    ptr, target, types, edge_id = out.indptr, out.target, out.edge_type, out.edge_id
    assert edge_id is not None
    found = [
        list(zip(target[a:b].tolist(), edge_id[a:b].tolist(), types[a:b].tolist(), strict=True))
        for a, b in zip(ptr[:-1].tolist(), ptr[1:].tolist(), strict=True)
    ]
    assert found == by_source(graph)
    assert (target.dtype, edge_id.dtype, types.dtype) == (torch.int32, torch.int32, torch.int8)


def test_transpose_of_a_large_graph_does_not_depend_on_the_number_of_threads() -> None:
    g = torch.Generator().manual_seed(0)
    graph = csr(torch.randint(0, 400, (4000,), generator=g).tolist(), 300, 3, g)
    threads = torch.get_num_threads()
    results = []
    for n in (1, 3):
        torch.set_num_threads(n)
        results.append(
            transpose(graph.indptr, graph.source, graph.edge_type, graph.num_sources, 3, with_edge_id=True)
        )
    torch.set_num_threads(threads)
    arrays = [(out.indptr, out.target, out.edge_type, out.edge_id) for out in results]
    assert all(torch.equal(a, b) for a, b in zip(*arrays, strict=True))
    order = torch.argsort(graph.source * 3 + graph.edge_type, stable=True)
    assert torch.equal(arrays[0][3].long(), order)


def test_a_graph_keeps_the_transpose_it_was_given() -> None:
    g = torch.Generator().manual_seed(0)
    for drawn in (csr([3, 1, 2], 4, 3, g), table(3, 2, 4, 3, g)):
        graph = with_transpose(drawn)
        assert with_transpose(graph) is graph
        assert graph.transpose is not None
        assert graph.transpose.edge_id is None
        both = with_transpose(graph, with_edge_id=True)
        assert with_transpose(both) is both
        moved = both.to('cpu').transpose
        assert moved is not None
        assert moved.edge_id is not None
        edges = int(moved.indptr[-1])  # empty slots are left out
        types = graph.edge_type.flatten()[moved.edge_id[:edges].long()]
        assert torch.equal(moved.edge_type[:edges], types)


def test_a_source_out_of_range_is_refused() -> None:
    graph = csr([3, 1], 4, 3, torch.Generator().manual_seed(0))
    bad = InNeighbors(graph.indptr, graph.source + 2, graph.edge_type, 4)
    with pytest.raises(IndexError, match=r'source must lie in \[0, 4\), got [45]'):
        with_transpose(bad)
