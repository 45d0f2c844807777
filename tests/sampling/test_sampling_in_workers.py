"""Draws inside forked DataLoader workers, and from several threads at once."""

import threading

import pytest
import torch
from torch.utils.data import DataLoader

from graphgps_ext.graph import InNeighbors
from graphgps_ext.sampling import LayeredNeighborhood, SamplingPlan, layered_neighborhood

NUM_NODES, LENGTH, DEGREE = 3000, 40, 5


class Walks(torch.utils.data.Dataset):
    def __init__(self) -> None:
        generator = torch.Generator().manual_seed(0)
        num_edges = NUM_NODES * LENGTH
        graph = InNeighbors(
            torch.arange(0, num_edges + 1, LENGTH),
            torch.randint(0, NUM_NODES, (num_edges,), generator=generator, dtype=torch.int32),
            torch.zeros(num_edges, dtype=torch.int8),
            NUM_NODES,
        )
        weights = torch.rand(num_edges, generator=generator)
        self.plan = SamplingPlan(graph, [weights, weights], [DEGREE, DEGREE])

    def __len__(self) -> int:
        return 6

    def __getitem__(self, batch: int) -> LayeredNeighborhood:
        return layered_neighborhood(self.plan, torch.arange(batch, NUM_NODES, 6), key=0)


def _same(first: LayeredNeighborhood, second: LayeredNeighborhood) -> bool:
    return torch.equal(first.n_id, second.n_id) and all(
        torch.equal(a.source, b.source) for a, b in zip(first.layers, second.layers, strict=True)
    )


@pytest.mark.filterwarnings('ignore:.*fork.*:DeprecationWarning')
def test_forked_workers_give_the_walks_of_the_main_process():
    walks = Walks()
    # the pool of the parent is running when the workers fork
    whole = walks.plan.draw(0, None, key=0)
    assert whole.num_nodes == NUM_NODES
    here = [walks[batch] for batch in range(len(walks))]
    loader = DataLoader(
        walks, batch_size=None, num_workers=2, multiprocessing_context='fork', collate_fn=lambda walk: walk
    )
    for _ in range(2):
        there = list(loader)
        assert len(there) == len(here)
        assert all(_same(a, b) for a, b in zip(here, there, strict=True))


@pytest.mark.filterwarnings('ignore:.*fork.*:DeprecationWarning')
def test_a_worker_that_asks_for_more_threads_does_not_hang():
    walks = Walks()
    here = [walks[batch] for batch in range(len(walks))]
    loader = DataLoader(
        walks,
        batch_size=None,
        num_workers=2,
        multiprocessing_context='fork',
        collate_fn=lambda walk: walk,
        worker_init_fn=lambda _: torch.set_num_threads(2),
        timeout=60,
    )
    assert all(_same(a, b) for a, b in zip(here, loader, strict=True))


def test_draws_from_several_threads_at_once_do_not_disturb_each_other():
    walks = Walks()
    here = [walks[batch] for batch in range(len(walks))]
    results: dict[int, LayeredNeighborhood] = {}

    def work(batch: int) -> None:
        results[batch] = walks[batch]

    threads = [threading.Thread(target=work, args=(batch,)) for batch in range(len(walks))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert all(_same(here[batch], results[batch]) for batch in range(len(walks)))
