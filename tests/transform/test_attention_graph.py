"""The attention graph against Python sets and loops."""

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from graphgps_ext.graph import InNeighbors
from graphgps_ext.transform.attention_graph import attention_graph, kept_share
from graphgps_ext.transform.expander import expander_table


def rows(neighbors: InNeighbors) -> list[list[tuple[int, int]]]:
    """(type, source) of each node's in-edges."""
    pairs = list(zip(neighbors.edge_type.tolist(), neighbors.source.tolist(), strict=True))
    indptr = neighbors.indptr.tolist()
    return [pairs[a:b] for a, b in itertools.pairwise(indptr)]


def oracle(
    edges: list[tuple[int, int]],
    num_nodes: int,
    undirected: bool,
    table: Tensor | None,
    self_loops: bool,
    num_virtual_nodes: int,
) -> list[list[tuple[int, int]]]:
    """Row by row in the promised order, from a set of (source, target)."""
    pairs = {(s, t) for s, t in edges if s != t}
    if undirected:
        pairs |= {(t, s) for s, t in pairs}
    virtual = range(num_nodes, num_nodes + num_virtual_nodes)
    result = []
    for node in range(num_nodes + num_virtual_nodes):
        row = [(0, s) for s, t in sorted(pairs) if t == node]
        if table is not None and node < num_nodes:
            row += [(1, s) for s in table[node].tolist() if s >= 0]
        if self_loops:
            row.append((2, node))
        row += [(3, s) for s in range(num_nodes)] if node in virtual else [(4, s) for s in virtual]
        result.append(row)
    return result


@st.composite
def graphs(draw: st.DrawFn) -> tuple[int, list[tuple[int, int]]]:
    num_nodes = draw(st.integers(1, 12))
    node = st.integers(0, num_nodes - 1)
    return num_nodes, draw(st.lists(st.tuples(node, node), max_size=40))


def as_edge_index(edges: list[tuple[int, int]]) -> Tensor:
    return torch.tensor(edges, dtype=torch.int64).reshape(-1, 2).T


@settings(max_examples=80, deadline=None)
@given(graphs(), st.booleans(), st.booleans(), st.booleans(), st.integers(0, 2))
def test_rows_equal_the_set_oracle_in_the_promised_order(graph, undirected, expander, self_loops, virtual):
    num_nodes, edges = graph
    result = attention_graph(
        as_edge_index(edges),
        num_nodes,
        undirected=undirected,
        expander=expander,
        expander_degree=2,
        expander_seed=7,
        self_loops=self_loops,
        num_virtual_nodes=virtual,
    )
    table = expander_table(num_nodes, 2, seed=7) if expander else None
    assert rows(result.neighbors) == oracle(edges, num_nodes, undirected, table, self_loops, virtual)
    assert result.neighbors.num_nodes == num_nodes + virtual
    assert result.neighbors.num_sources == num_nodes + virtual
    assert result.neighbors.source.dtype == torch.int32
    assert result.edge_attr is None


def test_a_path_with_one_virtual_node_worked_by_hand():
    edge_index = torch.tensor([[2, 1, 2, 1], [1, 2, 1, 1]])  # 1-2 three times, a self-loop; 0 is isolated
    result = attention_graph(edge_index, 3, expander=False, num_virtual_nodes=1)
    assert rows(result.neighbors) == [
        [(2, 0), (4, 3)],
        [(0, 2), (2, 1), (4, 3)],
        [(0, 1), (2, 2), (4, 3)],
        [(2, 3), (3, 0), (3, 1), (3, 2)],
    ]


def test_an_expander_edge_beside_a_graph_edge_is_kept():
    result = attention_graph(torch.tensor([[0], [1]]), 2, expander_degree=1)  # two nodes: complete
    assert rows(result.neighbors) == [[(0, 1), (1, 1), (2, 0)], [(0, 0), (1, 0), (2, 1)]]


def test_a_directed_graph_stays_directed_when_asked():
    result = attention_graph(torch.tensor([[0, 2], [1, 1]]), 3, undirected=False, expander=False)
    assert rows(result.neighbors) == [[(2, 0)], [(0, 0), (0, 2), (2, 1)], [(2, 2)]]


def test_isolated_nodes_and_a_graph_without_edges_are_fine():
    result = attention_graph(torch.empty(2, 0, dtype=torch.int64), 4, expander=False, self_loops=False)
    assert result.neighbors.indptr.tolist() == [0, 0, 0, 0, 0]
    assert attention_graph(torch.empty(2, 0, dtype=torch.int64), 1).neighbors.num_edges == 1


def test_the_input_is_not_changed_and_may_be_int32():
    edge_index = torch.tensor([[3, 0, 0], [1, 0, 2]], dtype=torch.int32)
    before = edge_index.clone()
    result = attention_graph(edge_index, 4, expander_degree=1)
    assert torch.equal(edge_index, before)
    assert rows(result.neighbors) == rows(attention_graph(before.long(), 4, expander_degree=1).neighbors)


@pytest.mark.parametrize('algorithm', ['permutation', 'hamiltonian'])
def test_the_expander_follows_its_settings(algorithm):
    build = dict(edge_index=torch.tensor([[0], [1]]), num_nodes=40, expander_degree=3)
    result = attention_graph(**build, expander_algorithm=algorithm, expander_seed=5).neighbors
    table = expander_table(40, 3, algorithm=algorithm, seed=5)
    assert torch.equal(result.source[result.edge_type == 1], table[table >= 0])
    other = attention_graph(**build, expander_algorithm=algorithm, expander_seed=6).neighbors
    assert result.num_edges != other.num_edges or not torch.equal(result.source, other.source)


@settings(max_examples=40, deadline=None)
@given(graphs(), st.booleans())
def test_edge_features_follow_their_edges_and_duplicates_are_averaged(graph, undirected):
    num_nodes, edges = graph
    generator = torch.Generator().manual_seed(len(edges))
    edge_attr = torch.rand(len(edges), 2, generator=generator, dtype=torch.float64)
    result = attention_graph(
        as_edge_index(edges), num_nodes, edge_attr=edge_attr, undirected=undirected, expander_degree=1
    )
    found: dict[tuple[int, int], list[Tensor]] = {}
    for pair, attr in zip(edges, edge_attr, strict=True):
        for key in {pair, pair[::-1]} if undirected else {pair}:
            found.setdefault(key, []).append(attr)
    neighbors = result.neighbors
    assert result.edge_attr is not None
    assert result.edge_attr.shape == (neighbors.num_edges, 2)
    for (source, target), kind, attr in zip(
        neighbors.edge_index().T.tolist(), neighbors.edge_type.tolist(), result.edge_attr, strict=True
    ):
        expected = torch.stack(found[source, target]).mean(0) if kind == 0 else torch.zeros(2).double()
        torch.testing.assert_close(attr, expected)


@pytest.mark.parametrize(
    'arguments, message',
    [
        (dict(num_nodes=2), r'node ids from 0 to 1, got ids from 0 to 2 \(key dataset\.name\)'),
        (dict(edge_index=torch.tensor([[-1], [0]])), r'node ids from 0 to 2, got ids from -1 to 0'),
        (dict(num_nodes=0), r'at least one node, got num_nodes 0 \(key dataset\.name\)'),
        (dict(num_virtual_nodes=-1), r'at least 0, got -1 \(key prep\.num_virt_node\)'),
        (dict(expander_degree=0), r'at least 1, got 0 \(key prep\.exp_deg\)'),
        (
            dict(edge_index=torch.zeros(3, 2).long()),
            r'shape \[2, E\] and integers, got \(3, 2\) torch\.int64',
        ),
        (dict(edge_index=torch.zeros(2, 2)), r'shape \[2, E\] and integers, got \(2, 2\) torch\.float32'),
        (dict(edge_attr=torch.zeros(3, 1)), r'edge_attr needs shape \[2, D\] .* got \(3, 1\) torch\.float32'),
        (dict(edge_attr=torch.zeros(2)), r'edge_attr needs shape \[2, D\] .* got \(2,\) torch\.float32'),
        (dict(edge_attr=torch.zeros(2, 1).int()), r'floating dtype, got \(2, 1\) torch\.int32'),
    ],
)
def test_bad_arguments_are_refused(arguments, message):
    defaults = dict(edge_index=torch.tensor([[0, 1], [1, 2]]), num_nodes=3, expander_degree=1)
    with pytest.raises(ValueError, match=message):
        attention_graph(**(defaults | arguments))


def test_the_kept_share_counts_graph_and_expander_edges_but_no_self_loops():
    edge_index = torch.tensor([[0, 1, 2, 3, 4, 5, 6], [1, 2, 3, 4, 5, 6, 0]])  # a ring: 14 edges both ways
    result = attention_graph(
        edge_index, 7, expander_degree=2, expander_algorithm='hamiltonian', num_virtual_nodes=2
    )
    assert kept_share(result.neighbors, [3, 1], num_virtual_nodes=2) == pytest.approx(100 * 7 * 2 / (14 + 28))
