import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from sampling_oracles import random_graph

from graphgps_ext.graph import NeighborTable
from graphgps_ext.ops import with_transpose
from graphgps_ext.sampling import SamplingPlan, layered_neighborhood, sample_neighbors, signed, stream_key

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a CUDA device'),
]


@pytest.mark.parametrize('fill', ['mask', 'repeat'])
@pytest.mark.parametrize('strategy', ['weighted', 'uniform', 'top'])
def test_cuda_draws_the_edges_of_the_cpu(strategy: str, fill: str):
    graph, weights = random_graph(3000, 300)
    nodes = torch.randperm(3000, generator=torch.Generator().manual_seed(0))[:500]
    for rows in (None, nodes):
        here, there = (
            sample_neighbors(
                graph.to(device),
                weights.to(device),
                8,
                strategy=strategy,
                fill=fill,
                key=stream_key(1),
                nodes=None if rows is None else rows.to(device),
            )
            for device in ('cpu', 'cuda')
        )
        assert there.source.is_cuda
        there = there.to('cpu')
        assert torch.equal(here.edge_id, there.edge_id)
        assert torch.equal(here.source, there.source)
        assert torch.equal(here.edge_type, there.edge_type)


def test_cuda_walks_like_the_cpu():
    graph, weights = random_graph(3000, 40)
    seeds = torch.randperm(3000, generator=torch.Generator().manual_seed(0))[:100]

    plan = SamplingPlan(graph, [weights] * 3, [4, 5, 6])
    here = layered_neighborhood(plan, seeds, key=1)
    there = layered_neighborhood(plan.to(torch.device('cuda')).prepared(), seeds.to('cuda'), key=1)
    assert here.num_nodes == there.num_nodes
    assert torch.equal(here.n_id, there.n_id.cpu())
    for one, other in zip(here.layers, there.layers, strict=True):
        assert torch.equal(one.source, other.source.cpu())


def test_a_bad_weight_is_named_on_cuda():
    graph, weights = random_graph(100, 30)
    weights[graph.indptr[20]] = -1.0
    with pytest.raises(ValueError, match=r'an in-edge of node 20 has another one'):
        sample_neighbors(graph.to('cuda'), weights.to('cuda'), 3, strategy='weighted', fill='mask', key=0)


def test_a_bad_score_is_named_when_a_plan_is_prepared_for_cuda():
    graph, weights = random_graph(100, 30)
    bad = weights.clone()
    bad[graph.indptr[20]] = float('nan')
    for strategy in ('weighted', 'top'):
        plan = SamplingPlan(graph, [weights, bad], [3, 3], strategy=strategy).to(torch.device('cuda'))
        with pytest.raises(ValueError, match=r'an in-edge of node 20 has another one'):
            plan.prepared()
    SamplingPlan(graph, [weights, bad], [3, 3], strategy='uniform').to(torch.device('cuda')).prepared()


def test_a_node_out_of_range_is_named_on_cuda():
    graph, weights = random_graph(100, 30)
    nodes = torch.tensor([3, 100], device='cuda')
    with pytest.raises(ValueError, match=r'nodes must lie in \[0, 100\), got 3 to 100'):
        sample_neighbors(
            graph.to('cuda'), weights.to('cuda'), 3, strategy='weighted', fill='mask', key=0, nodes=nodes
        )


@contextmanager
def no_wait() -> Iterator[None]:
    """Within it, whatever makes the host wait for the device raises an error."""
    torch.cuda.synchronize()
    with warnings.catch_warnings():
        warnings.filterwarnings('ignore', 'Synchronization debug mode is a prototype feature')
        torch.cuda.set_sync_debug_mode('error')
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode('default')


def test_no_wait_notices_a_wait():
    with no_wait(), pytest.raises(RuntimeError, match='synchronizing'):
        torch.ones(3, device='cuda').sum().item()


def cuda_plan(strategy: str, fill: str) -> SamplingPlan:
    """Rows of up to 3,000 edges: short ones, and some that are drawn by themselves."""
    graph, weights = random_graph(400, 3000)
    plan = SamplingPlan(graph, [weights, weights.sqrt()], [12, 10], strategy=strategy, fill=fill)
    return plan.to(torch.device('cuda')).prepared()


def tables(plan: SamplingPlan, nodes: torch.Tensor | None, key: int | torch.Tensor) -> list[NeighborTable]:
    drawn = [plan.draw(layer, nodes, key) for layer in range(plan.num_layers)]
    return [with_transpose(table, plan.num_types, with_edge_id=True) for table in drawn]


def entries(table: NeighborTable) -> list[torch.Tensor]:
    """All that a table with its transpose says: of the transpose's arrays only a part counts."""
    out = table.transpose
    assert out is not None
    begin, end = out.indptr[0].item(), out.indptr[-1].item()
    counted = [x[begin:end] for x in (out.target, out.edge_type, out.edge_id)]
    return [table.source, table.edge_type, table.edge_id, out.indptr.diff(), *counted]


def same_tables(first: list[NeighborTable], second: list[NeighborTable]) -> bool:
    pairs = zip(map(entries, first), map(entries, second), strict=True)
    return all(torch.equal(a, b) for one, other in pairs for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize('fill', ['mask', 'repeat'])
@pytest.mark.parametrize('strategy', ['weighted', 'uniform', 'top'])
@pytest.mark.parametrize('subset', [False, True])
def test_captured_draws_wait_for_nothing_and_follow_the_key(strategy: str, fill: str, subset: bool):
    """The tables with their transposes in a CUDA graph, replayed with other keys, equal eager draws."""
    plan = cuda_plan(strategy, fill)
    nodes = torch.arange(0, 400, 3, device='cuda') if subset else None
    key = torch.zeros((), dtype=torch.int64, device='cuda')
    tables(plan, nodes, key)  # compiles
    with no_wait():
        tables(plan, nodes, key)
        tables(plan, nodes, 5)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        captured = tables(plan, nodes, key)
    previous = None
    for epoch in range(3):
        number = stream_key(7, epoch)
        key.fill_(signed(number))
        graph.replay()
        assert same_tables(captured, tables(plan, nodes, number))
        first = captured[0].source.clone()
        assert strategy == 'top' or previous is None or not torch.equal(first, previous)
        previous = first


def test_the_transpose_of_a_table_is_that_of_the_cpu():
    plan = cuda_plan('weighted', 'mask')
    here = [with_transpose(plan.draw(0, None, 3).to('cpu'), plan.num_types, with_edge_id=True)]
    assert same_tables(here, [tables(plan, None, 3)[0].to('cpu')])


def test_temporaries_of_a_draw_do_not_grow_with_the_edges():
    """Rows of 500 edges: a table of K = 10 takes 13 bytes a slot, a draw next to nothing beside it."""
    graph, weights = random_graph(20_000, 1000)
    plan = SamplingPlan(graph, [weights], [10]).to(torch.device('cuda')).prepared()
    slots = 20_000 * 10

    def peak(with_backward: bool) -> int:
        torch.cuda.synchronize()
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        table = plan.draw(0, None, 1)
        if with_backward:
            with_transpose(table, plan.num_types)
        return torch.cuda.max_memory_allocated() - before

    peak(True)
    assert plan.graph.num_edges > 40 * slots
    assert peak(False) < 16 * slots
    assert peak(True) < 100 * slots
