import pytest
import torch
from sampling_oracles import random_graph

from graphgps_ext.sampling import SamplingPlan, layered_neighborhood, sample_neighbors, stream_key

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
