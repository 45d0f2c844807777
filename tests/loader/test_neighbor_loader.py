"""Layered batches of seed nodes: their order, their tables against draws of the whole graph, their keys."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch_geometric.data import Data

from graphgps_ext.graph import InNeighbors
from graphgps_ext.loader.neighbor_loader import SparseNeighborLoader, full_batch, node_data
from graphgps_ext.sampling import SamplingPlan
from graphgps_ext.transform.attention_graph import attention_graph

NUM_NODES, DEGREES = 41, (4, 3, 2)
KEY = 12345


@pytest.fixture
def graph() -> InNeighbors:
    generator = torch.Generator().manual_seed(0)
    edge_index = torch.randint(NUM_NODES, (2, 3 * NUM_NODES), generator=generator)
    return attention_graph(edge_index, NUM_NODES, expander_degree=2).neighbors


@pytest.fixture
def data() -> Data:
    part = torch.arange(NUM_NODES) % 4
    return Data(
        x=torch.arange(NUM_NODES)[:, None] * torch.tensor([1.0, 100.0]),
        y=torch.arange(NUM_NODES) % 3,
        train_mask=part < 2,
        val_mask=part == 2,
        test_mask=part == 3,
        edge_index=torch.zeros(2, 5, dtype=torch.long),
    )


def plan_of(graph: InNeighbors, **kwargs: object) -> SamplingPlan:
    generator = torch.Generator().manual_seed(1)
    scores = [torch.rand(graph.num_edges, generator=generator) for _ in DEGREES]
    return SamplingPlan(graph, scores, DEGREES, **kwargs)


def loader_of(data: Data, graph: InNeighbors, key: int = KEY, **kwargs: object) -> SparseNeighborLoader:
    of_plan = {name: kwargs.pop(name) for name in ('per_batch', 'strategy', 'fill') if name in kwargs}
    return SparseNeighborLoader(data, plan_of(graph, **of_plan), key=key, **{'batch_size': 8, **kwargs})


def global_rows(batch: Data, layer: int) -> Tensor:
    """The table of a layer with ids of the whole graph."""
    neighbors = batch.layers[layer].source.long()
    return torch.where(neighbors < 0, neighbors, batch.n_id[neighbors])


def assert_equal(first: Data, second: Data) -> None:
    assert torch.equal(first.n_id, second.n_id) and torch.equal(first.x, second.x)
    assert first.batch_size == second.batch_size
    for a, b in zip(first.layers, second.layers, strict=True):
        assert a.num_sources == b.num_sources
        for name in ('source', 'edge_type', 'edge_id'):
            assert torch.equal(getattr(a, name), getattr(b, name)), name


@pytest.mark.parametrize('strategy', ['weighted', 'uniform', 'top'])
@pytest.mark.parametrize('fill', ['mask', 'repeat'])
def test_tables_are_the_rows_of_one_draw_for_the_whole_graph(
    graph: InNeighbors, data: Data, strategy: str, fill: str
) -> None:
    plan = plan_of(graph, strategy=strategy, fill=fill)
    whole = [plan.draw(layer, None, KEY) for layer in range(len(DEGREES))]
    seen = []
    for batch in SparseNeighborLoader(data, plan, key=KEY, batch_size=8):
        seen.append(batch.n_id[: batch.batch_size])
        for layer, table in enumerate(batch.layers):
            rows = batch.n_id[: table.num_nodes]
            assert torch.equal(global_rows(batch, layer), whole[layer].source[rows].long())
            assert torch.equal(table.edge_type, whole[layer].edge_type[rows])
            assert torch.equal(table.edge_id, whole[layer].edge_id[rows])
    assert torch.equal(torch.cat(seen), torch.arange(NUM_NODES))


def test_nodes_of_a_layer_are_a_prefix_of_those_before_it_and_all_are_needed(
    graph: InNeighbors, data: Data
) -> None:
    for batch in loader_of(data, graph):
        counts = [len(batch.n_id), *(table.num_nodes for table in batch.layers)]
        assert counts[-1] == batch.batch_size
        assert len(batch.n_id.unique()) == len(batch.n_id)
        for layer, table in enumerate(batch.layers):
            assert table.num_sources == counts[layer]
            # Layer l holds the rows of layer l + 1, and nothing else than these and their neighbours.
            used = {*range(table.num_nodes), *table.source[table.source >= 0].tolist()}
            assert used == set(range(counts[layer]))


def test_node_tensors_are_the_rows_of_n_id_and_edges_stay_behind(graph: InNeighbors, data: Data) -> None:
    for batch in loader_of(node_data(data), graph):
        for name in ('x', 'y', 'train_mask', 'val_mask', 'test_mask'):
            assert torch.equal(batch[name], data[name][batch.n_id])
        assert 'edge_index' not in batch and batch.sampling_seconds > 0


def test_mask_of_input_nodes_chooses_the_seeds(graph: InNeighbors, data: Data) -> None:
    batches = list(loader_of(data, graph, input_nodes=data.val_mask))
    seeds = torch.cat([batch.n_id[: batch.batch_size] for batch in batches])
    assert torch.equal(seeds, data.val_mask.nonzero().flatten())
    for batch in batches:
        assert batch.val_mask[: batch.batch_size].all()


def test_last_batch_may_hold_one_node(graph: InNeighbors, data: Data) -> None:
    batches = list(loader_of(data, graph, batch_size=10))
    assert [batch.batch_size for batch in batches] == [10, 10, 10, 10, 1]
    assert batches[-1].n_id[0] == NUM_NODES - 1 and batches[-1].layers[-1].num_nodes == 1


@pytest.mark.filterwarnings('ignore:.*fork.*:DeprecationWarning')
@pytest.mark.parametrize('per_batch', [False, True])
def test_workers_give_the_batches_of_the_main_process(
    graph: InNeighbors, data: Data, per_batch: bool
) -> None:
    here = list(loader_of(data, graph, per_batch=per_batch))
    there = list(loader_of(data, graph, per_batch=per_batch, num_workers=2))
    assert len(here) == len(there) == 6
    for first, second in zip(here, there, strict=True):
        assert_equal(first, second)


def test_equal_keys_give_equal_batches_and_others_do_not(graph: InNeighbors, data: Data) -> None:
    first, again = (list(loader_of(data, graph)) for _ in range(2))
    for a, b in zip(first, again, strict=True):
        assert_equal(a, b)
    other = list(loader_of(data, graph, key=KEY + 1))
    assert not any(
        torch.equal(global_rows(a, 2), global_rows(b, 2)) for a, b in zip(first, other, strict=True)
    )


def drawn_twice(batches: list[Data], layer: int) -> list[tuple[Tensor, Tensor]]:
    """Rows of nodes that occur in two batches."""
    rows: dict[int, Tensor] = {}
    pairs = []
    for batch in batches:
        for node, row in zip(batch.n_id.tolist(), global_rows(batch, layer), strict=False):
            if node in rows:
                pairs.append((rows[node], row))
            rows[node] = row
    return pairs


def test_batches_share_one_draw_unless_each_asks_for_its_own(graph: InNeighbors, data: Data) -> None:
    shared = drawn_twice(list(loader_of(data, graph)), layer=0)
    assert len(shared) > 20 and all(torch.equal(a, b) for a, b in shared)
    own = drawn_twice(list(loader_of(data, graph, per_batch=True)), layer=0)
    assert sum(torch.equal(a, b) for a, b in own) < len(own) / 2


def test_layers_have_draws_of_their_own(graph: InNeighbors, data: Data) -> None:
    scores = [torch.ones(graph.num_edges)] * 2
    batch = full_batch(data, SamplingPlan(graph, scores, (3, 3)), KEY)
    assert not torch.equal(batch.layers[0].source, batch.layers[1].source)


def test_full_batch_is_the_batch_in_which_all_nodes_are_seeds(graph: InNeighbors, data: Data) -> None:
    (batch,) = loader_of(node_data(data), graph, batch_size=NUM_NODES)
    whole = full_batch(data, plan_of(graph), KEY)
    assert_equal(batch, whole)
    for name in ('x', 'y', 'train_mask', 'val_mask', 'test_mask'):
        assert torch.equal(batch[name], whole[name])
    assert set(batch.keys()) - set(whole.keys()) == {'input_id'}


def test_isolated_node_is_a_batch_of_its_own_without_neighbours(data: Data) -> None:
    no_edges = torch.zeros(2, 0, dtype=torch.long)
    bare = attention_graph(no_edges, NUM_NODES, expander=False, self_loops=False).neighbors
    batch = next(iter(loader_of(data, bare, input_nodes=torch.tensor([7]))))
    assert batch.n_id.tolist() == [7]
    assert all((table.source == -1).all() and len(table.source) == 1 for table in batch.layers)


def test_plan_wants_one_degree_per_layer_of_scores(graph: InNeighbors) -> None:
    with pytest.raises(ValueError, match=r'needs 2 entries, one per layer, got 3 \(set spex.layer_degrees\)'):
        SamplingPlan(graph, [None, None], (3, 3, 3), strategy='uniform')


def test_links_are_out_of_scope(graph: InNeighbors, data: Data) -> None:
    with pytest.raises(NotImplementedError, match='serves node tasks only'):
        loader_of(data, graph).node_sampler.sample_from_edges(None)


def test_only_batches_with_a_backward_pass_carry_the_transpose_of_their_tables(
    graph: InNeighbors, data: Data
) -> None:
    plan = plan_of(graph)
    for with_backward in (True, False):
        loader = SparseNeighborLoader(data, plan, key=KEY, batch_size=8, with_backward=with_backward)
        for batch in (next(iter(loader)), full_batch(data, plan, KEY, with_backward=with_backward)):
            for table in batch.layers:
                assert (table.transpose is not None) == with_backward
                if table.transpose is not None:  # by source, the edges of each
                    sources = table.source[table.source >= 0].long()
                    count = torch.bincount(sources, minlength=table.num_sources)
                    assert torch.equal(table.transpose.indptr.diff(), count)


def test_weights_are_prepared_where_most_edges_lie_in_rows_far_above_the_degree(data: Data) -> None:
    edge_index = torch.randint(NUM_NODES, (2, 700), generator=torch.Generator().manual_seed(0))
    graph = attention_graph(edge_index, NUM_NODES, expander_degree=2).neighbors
    plan = plan_of(graph)
    assert 8 * 3 < graph.degree().median() < 8 * 4  # rows are long for the last two of DEGREES
    prepared = plan.prepared()
    assert [sums is not None for sums in prepared.sums] == [False, True, True]
    assert not prepared.to(torch.device('cpu')).sums
    assert not any(plan_of(graph, strategy='top').prepared().sums)
    for table in full_batch(data, prepared, KEY).layers:
        assert (table.source >= 0).all()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a GPU')
def test_batches_made_on_a_gpu_are_those_of_the_cpu(graph: InNeighbors, data: Data) -> None:
    plan = plan_of(graph)
    loaders = [
        SparseNeighborLoader(node_data(data).to(device), plan.to(torch.device(device)), key=KEY, batch_size=8)
        for device in ('cuda', 'cpu')
    ]
    for found, expected in zip(*loaders, strict=True):
        assert found.x.is_cuda and found.layers[0].source.is_cuda
        assert torch.equal(found.n_id.cpu(), expected.n_id)
        for a, b in zip(found.layers, expected.layers, strict=True):
            assert torch.equal(a.source.cpu(), b.source)
