"""Batches made in the background."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader, Dataset

from graphgps_ext.loader.prefetch import Prefetched


class Numbers(Dataset):
    """0, 1, 2; notes which were made, and fails at `bad`."""

    def __init__(self, bad: int = -1) -> None:
        self.bad = bad
        self.made = [threading.Event() for _ in range(3)]

    def __len__(self) -> int:
        return 3

    def __getitem__(self, index: int) -> int:
        self.made[index].set()
        if index == self.bad:
            raise ValueError('no such number')
        return index


def loader(numbers: Numbers) -> DataLoader:
    return DataLoader(numbers, batch_size=None, generator=torch.Generator())


@pytest.fixture
def executor() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as pool:
        yield pool


def test_all_batches_come_in_order_with_a_thread_and_without(executor: ThreadPoolExecutor) -> None:
    for pool in (executor, None):
        batches: Any = Prefetched(loader(Numbers()), pool)
        assert len(batches) == 3
        assert list(batches) == [0, 1, 2]
        assert batches.seconds_waiting > 0


def test_the_next_batch_is_made_while_one_is_in_use(executor: ThreadPoolExecutor) -> None:
    numbers = Numbers()
    batches: Any = iter(Prefetched(loader(numbers), executor))
    assert next(batches) == 0
    assert numbers.made[1].wait(10)
    assert not numbers.made[2].is_set()  # one ahead, not more


def test_what_comes_next_begins_when_the_last_batch_was_made(executor: ThreadPoolExecutor) -> None:
    begun = threading.Event()
    prefetched: Any = Prefetched(loader(Numbers()), executor, begun.set)
    batches = iter(prefetched)
    assert [next(batches) for _ in range(2)] == [0, 1]
    assert not begun.is_set()
    assert next(batches) == 2
    assert begun.wait(10)


def test_the_first_batch_can_be_made_before_it_is_asked_for(executor: ThreadPoolExecutor) -> None:
    numbers = Numbers()
    batches: Any = Prefetched(loader(numbers), executor)
    assert not numbers.made[0].is_set()
    batches.begin()
    assert numbers.made[0].wait(10)
    batches.begin()  # changes nothing
    assert list(batches) == [0, 1, 2]


def test_an_error_of_the_background_reaches_the_user(executor: ThreadPoolExecutor) -> None:
    batches: Any = iter(Prefetched(loader(Numbers(bad=1)), executor))
    assert next(batches) == 0
    with pytest.raises(ValueError, match='no such number'):
        next(batches)


def test_torch_draws_the_same_numbers_with_and_without_a_background(executor: ThreadPoolExecutor) -> None:
    drawn = []
    for use in (True, False):
        torch.manual_seed(0)
        if use:
            list(Prefetched(loader(Numbers()), executor))
        drawn.append(torch.rand(3))
    assert torch.equal(*drawn)
