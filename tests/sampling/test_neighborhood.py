from dataclasses import replace

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from sampling_oracles import graph_of_rows, layered_neighborhood_oracle

from graphgps_ext.graph import InNeighbors, NeighborTable
from graphgps_ext.sampling import LayeredNeighborhood, SamplingPlan, layered_neighborhood


def plan_of(graph: InNeighbors, degrees: list[int]) -> SamplingPlan:
    return SamplingPlan(graph, [None] * len(degrees), degrees, strategy='uniform')


@st.composite
def graphs(draw: st.DrawFn) -> InNeighbors:
    num_nodes = draw(st.integers(1, 25))
    row = st.lists(st.integers(0, num_nodes - 1), max_size=8)
    return graph_of_rows(draw(st.lists(row, min_size=num_nodes, max_size=num_nodes)))


@given(data=st.data(), graph=graphs(), degrees=st.lists(st.integers(1, 5), max_size=4))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_walk_equals_dictionary_oracle(relabeler: str, data: st.DataObject, graph, degrees):
    nodes = st.integers(0, graph.num_nodes - 1)
    seeds = data.draw(st.lists(nodes, unique=True))
    plan, key = plan_of(graph, degrees), data.draw(st.integers(0, 1000))
    walk = layered_neighborhood(plan, torch.tensor(seeds, dtype=torch.int64), key)
    n_id, tables = layered_neighborhood_oracle(
        seeds, lambda layer, nodes: plan.draw(layer, nodes, key), len(degrees)
    )
    if walk.num_seeds < graph.num_nodes:  # else n_id is the same, but nothing is appended
        assert [table.source.tolist() for table in walk.layers] == tables
    assert walk.n_id.tolist() == n_id
    # seeds first and no node twice
    assert walk.n_id[: len(seeds)].tolist() == seeds
    assert walk.n_id.unique().numel() == walk.n_id.numel()
    # each row holds what was drawn for its node, in the same slots, and stays within its layer's nodes
    for layer, table in enumerate(walk.layers):
        rows = walk.n_id[: walk.num_nodes[layer + 1]]
        drawn = plan.draw(layer, rows, key)
        taken = table.source >= 0
        assert (table.source < walk.num_nodes[layer]).all()
        assert torch.equal(taken, drawn.source >= 0)
        assert torch.equal(walk.n_id[table.source[taken].long()], drawn.source[taken].long())
        assert torch.equal(table.edge_type, drawn.edge_type)
        assert torch.equal(table.edge_id, drawn.edge_id)


@given(graph=graphs(), degrees=st.lists(st.integers(1, 5), min_size=1, max_size=3))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_all_nodes_as_seeds_equal_the_general_case(relabeler: str, graph: InNeighbors, degrees: list[int]):
    seeds = torch.arange(graph.num_nodes)
    quick = layered_neighborhood(plan_of(graph, degrees), seeds, key=7)
    # one node more in the whole graph: the seeds are no longer all nodes, so the general case relabels
    larger = replace(graph, indptr=torch.cat([graph.indptr, graph.indptr[-1:]]))
    general = layered_neighborhood(plan_of(larger, degrees), seeds, key=7)
    assert torch.equal(quick.n_id, general.n_id)
    assert quick.num_nodes == general.num_nodes
    for one, other in zip(quick.layers, general.layers, strict=True):
        assert torch.equal(one.source, other.source)
        assert torch.equal(one.edge_id, other.edge_id)
        assert one.num_sources == other.num_sources


def test_all_nodes_in_another_order_keep_that_order(relabeler: str):
    graph = graph_of_rows([[1], [2], [0]])
    walk = layered_neighborhood(plan_of(graph, [1]), torch.tensor([2, 0, 1]), 0)
    assert walk.n_id.tolist() == [2, 0, 1]
    assert walk.layers[0].source.tolist() == [[1], [2], [0]]


def test_a_path_worked_by_hand(relabeler: str):
    """0 <- 1 <- 2 <- 3, seeds 0: each layer adds one node, and a node without in-edges has an empty row."""
    graph = graph_of_rows([[1], [2], [3], []])
    walk = layered_neighborhood(plan_of(graph, [2, 2, 2, 2]), torch.tensor([0]), 0)
    assert walk.n_id.tolist() == [0, 1, 2, 3]
    assert walk.num_nodes == (4, 4, 3, 2, 1)
    assert walk.layers[3].source.tolist() == [[1, -1]]
    assert walk.layers[0].source.tolist() == [[1, -1], [2, -1], [3, -1], [-1, -1]]


@pytest.mark.parametrize(
    ('seeds', 'message'),
    [
        ([1, 2, 1], r'seeds must be distinct, got 3 with 2 different ones'),
        ([0, 0, 2], r'seeds must be distinct, got 3 with 2'),
        ([3], r'seeds must lie in \[0, 3\), got 3 to 3'),
        ([-1, 0], r'seeds must lie in \[0, 3\), got -1 to 0'),
    ],
)
def test_bad_seeds_are_named(relabeler: str, seeds: list[int], message: str):
    graph = graph_of_rows([[1], [2], [0]])
    with pytest.raises(ValueError, match=message):
        layered_neighborhood(plan_of(graph, [1]), torch.tensor(seeds), 0)


def test_seeds_of_another_dtype_are_refused():
    graph = graph_of_rows([[1], [0]])
    with pytest.raises(ValueError, match=r'seeds needs one dimension and dtype int64, got \[1\] torch.int32'):
        layered_neighborhood(plan_of(graph, [1]), torch.tensor([0], dtype=torch.int32), 0)


def _table(num_rows: int, num_sources: int) -> NeighborTable:
    empty = torch.full((num_rows, 2), -1, dtype=torch.int32)
    return NeighborTable(empty, torch.zeros(num_rows, 2, dtype=torch.int8), num_sources)


@pytest.mark.parametrize(
    ('n_id', 'layers', 'message'),
    [
        (torch.arange(3).int(), (), r'n_id needs one dimension and dtype int64, got \[3\] torch.int32'),
        (torch.arange(3), (_table(4, 3),), r'num_nodes must not increase, got \(3, 4\)'),
        (torch.arange(4), (_table(2, 3),), r'layer 0 must read 4 nodes, its table has 3'),
        (torch.arange(3), (_table(2, 3), _table(1, 3)), r'layer 1 must read 2 nodes, its table has 3'),
    ],
)
def test_a_neighborhood_checks_its_contract(n_id, layers, message: str):
    with pytest.raises(ValueError, match=message):
        LayeredNeighborhood(n_id, layers)
