import hypothesis.strategies as st
import pytest
import torch
from draw_cases import draw_cases
from hypothesis import given, settings
from sampling_oracles import check_table, draw_oracle, equal, graph_of_rows, random_graph, top_edges

from graphgps_ext.graph import InNeighbors, NeighborTable
from graphgps_ext.sampling import sample_neighbors, stream_key
from graphgps_ext.sampling.neighbors_numba import draw_numba


@pytest.mark.parametrize('fill', ['mask', 'repeat'])
@pytest.mark.parametrize('strategy', ['weighted', 'uniform', 'top'])
@pytest.mark.parametrize('degree', [1, 4, 24])
def test_rows_hold_distinct_drawable_edges_in_order_then_what_fill_says(
    implementation: str, strategy: str, fill: str, degree: int
):
    graph, weights = random_graph(60, 90)
    table = sample_neighbors(graph, weights, degree, strategy=strategy, fill=fill, key=3)
    seen = None if strategy == 'uniform' else weights
    check_table(graph, seen, table, torch.arange(60), fill)


@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_the_compiled_loops_draw_the_edges_of_a_sort(data: st.DataObject):
    graph, weights, *options = data.draw(draw_cases(max_length=70, max_degree=40))
    drawn = draw_numba(graph, weights, *options)
    assert all(torch.equal(a, b) for a, b in zip(drawn, draw_oracle(graph, weights, *options), strict=True))


@pytest.mark.parametrize('degree', [1, 3, 30])
def test_top_takes_the_largest_weights_and_of_equal_ones_the_earlier_edge(implementation: str, degree: int):
    generator = torch.Generator().manual_seed(1)
    rows = [range(length) for length in (0, 1, 5, 40, 200)]
    graph = graph_of_rows(rows, num_sources=200)
    weights = torch.randint(0, 12, (graph.num_edges,), generator=generator) / 8
    weights[-3:] = torch.tensor([2.0, 2.0 + 2**-22, 2.0])  # neighbours among the floats
    table = sample_neighbors(graph, weights, degree, strategy='top', fill='mask', key=0)
    assert table.edge_id is not None
    for node in range(len(rows)):
        begin, end = graph.indptr[node].item(), graph.indptr[node + 1].item()
        expected = [begin + at for at in top_edges(weights[begin:end].tolist(), degree)]
        assert table.edge_id[node].tolist() == expected + [-1] * (degree - len(expected))


@pytest.mark.parametrize('strategy', ['weighted', 'uniform', 'top'])
def test_rows_of_a_subset_equal_those_rows_of_the_whole_graph(implementation: str, strategy: str):
    graph, weights = random_graph(200, 60)
    nodes = torch.tensor([199, 3, 3, 0, 77, 150])
    for fill in ('mask', 'repeat'):
        whole = sample_neighbors(graph, weights, 7, strategy=strategy, fill=fill, key=5)
        some = sample_neighbors(graph, weights, 7, strategy=strategy, fill=fill, key=5, nodes=nodes)
        rows = NeighborTable(whole.source[nodes], whole.edge_type[nodes], 200, whole.edge_id[nodes])
        assert equal(some, rows)


def test_a_row_does_not_depend_on_the_rest_of_the_graph(implementation: str):
    """The same in-edges at another place among the edges, and in a larger graph, give the same draw."""
    row, weights = list(range(80)), torch.rand(80, generator=torch.Generator().manual_seed(0))
    alone = graph_of_rows([[], row], num_sources=80)
    among = graph_of_rows([[1, 2, 3], row, [4] * 50], num_sources=99)
    padded = torch.cat([torch.ones(3), weights, torch.ones(50)])
    options = {'strategy': 'weighted', 'fill': 'mask', 'key': 11}
    first = sample_neighbors(alone, weights, 9, **options).source[1]
    assert torch.equal(first, sample_neighbors(among, padded, 9, **options).source[1])


def test_draws_are_independent_of_thread_count():
    graph, weights = random_graph(20_000, 40)
    threads = torch.get_num_threads()
    try:
        tables = []
        for number in (1, 2, 5):
            torch.set_num_threads(number)
            for nodes in (None, torch.arange(20_000)):
                tables.append(
                    sample_neighbors(
                        graph, weights, 6, strategy='weighted', fill='repeat', key=1, nodes=nodes
                    )
                )
    finally:
        torch.set_num_threads(threads)
    assert all(equal(tables[0], table) for table in tables[1:])


def test_equal_keys_repeat_a_draw_and_other_keys_change_it(implementation: str):
    graph, weights = random_graph(500, 60)
    draws = {
        (epoch, layer): sample_neighbors(
            graph, weights, 5, strategy='weighted', fill='mask', key=stream_key(42, epoch, layer)
        )
        for epoch in range(3)
        for layer in range(2)
    }
    again = sample_neighbors(graph, weights, 5, strategy='weighted', fill='mask', key=stream_key(42, 1, 0))
    assert equal(draws[1, 0], again)
    names = list(draws)
    long = graph.degree() > 20
    for i, first in enumerate(names):
        for second in names[:i]:
            same = (draws[first].edge_id == draws[second].edge_id)[long].all(1)
            assert same.double().mean() < 0.02


def test_input_is_left_alone_and_other_weights_may_hold_anything(implementation: str):
    graph, weights = random_graph(50, 30)
    before = weights.clone()
    nodes = torch.tensor([4, 9])
    poisoned = torch.full_like(weights, float('nan'))
    for node in nodes:
        row = slice(graph.indptr[node], graph.indptr[node + 1])
        poisoned[row] = weights[row]
    clean = sample_neighbors(graph, weights, 6, strategy='weighted', fill='repeat', key=0, nodes=nodes)
    assert equal(
        clean, sample_neighbors(graph, poisoned, 6, strategy='weighted', fill='repeat', key=0, nodes=nodes)
    )
    assert torch.equal(weights, before)


def test_graphs_without_edges_or_nodes_give_empty_tables(implementation: str):
    for rows in ([], [[]], [[], []]):
        graph = graph_of_rows(rows)
        table = sample_neighbors(graph, torch.empty(0), 3, strategy='weighted', fill='repeat', key=0)
        assert table.source.tolist() == [[-1] * 3] * len(rows)
        assert table.edge_type.tolist() == [[0] * 3] * len(rows)
        assert table.edge_id is not None
        assert table.edge_id.tolist() == [[-1] * 3] * len(rows)


def test_uniform_needs_no_weights_and_int64_sources_stay_int64(implementation: str):
    graph = InNeighbors(torch.tensor([0, 3]), torch.tensor([2, 0, 1]), torch.zeros(3, dtype=torch.int8), 3)
    table = sample_neighbors(graph, None, 2, strategy='uniform', fill='mask', key=0)
    assert table.source.dtype == torch.int64


def test_weights_of_any_positive_size_are_drawn_in_proportion(implementation: str):
    """Scaling by a power of two scales all keys alike, down to denormal weights."""
    graph, weights = random_graph(300, 50)
    reference = sample_neighbors(graph, weights, 5, strategy='weighted', fill='mask', key=2)
    for scale in (2.0**-60, 2.0**60):
        assert equal(
            reference, sample_neighbors(graph, weights * scale, 5, strategy='weighted', fill='mask', key=2)
        )


@pytest.mark.parametrize('value', [float('nan'), -1e-9, float('inf')])
@pytest.mark.parametrize('length', [2, 100])
def test_a_bad_weight_names_the_first_node(implementation: str, value: float, length: int):
    graph = graph_of_rows([range(length)] * 6, num_sources=length)
    weights = torch.ones(graph.num_edges)
    weights[[length * 3 + 1, length * 4]] = value
    for strategy in ('weighted', 'top'):
        with pytest.raises(ValueError, match=r'finite and not negative, an in-edge of node 3 has another'):
            sample_neighbors(graph, weights, 5, strategy=strategy, fill='mask', key=0)
    with pytest.raises(ValueError, match=r'node 4 has'):
        sample_neighbors(
            graph, weights, 5, strategy='weighted', fill='mask', key=0, nodes=torch.tensor([1, 4, 3])
        )


def test_a_bad_argument_is_named():
    graph = graph_of_rows([[0, 1], [1]])
    good = {'strategy': 'weighted', 'fill': 'mask', 'key': 0}
    weights = torch.ones(3)
    with pytest.raises(ValueError, match=r"strategy must be one of weighted, uniform, top, got 'best'"):
        sample_neighbors(graph, weights, 1, **good | {'strategy': 'best'})
    with pytest.raises(ValueError, match=r"fill must be one of mask, repeat, got 'zeros' \(spex.fill\)"):
        sample_neighbors(graph, weights, 1, **good | {'fill': 'zeros'})
    with pytest.raises(ValueError, match=r'degree must be at least 1, got 0 \(spex.layer_degrees\)'):
        sample_neighbors(graph, weights, 0, **good)
    with pytest.raises(ValueError, match=r"strategy 'weighted' needs weights, got None"):
        sample_neighbors(graph, None, 1, **good)
    with pytest.raises(ValueError, match=r'weights needs shape \[3\] and dtype float32, got \[2\]'):
        sample_neighbors(graph, torch.ones(2), 1, **good)
    with pytest.raises(ValueError, match=r'dtype float32, got \[3\] torch.float64'):
        sample_neighbors(graph, weights.double(), 1, **good)
    with pytest.raises(ValueError, match=r'nodes needs one dimension and dtype int64, got \[1\] torch.int32'):
        sample_neighbors(graph, weights, 1, **good, nodes=torch.tensor([0], dtype=torch.int32))
    with pytest.raises(ValueError, match=r'nodes must lie in \[0, 2\), got -1 to 2'):
        sample_neighbors(graph, weights, 1, **good, nodes=torch.tensor([0, -1, 2]))
