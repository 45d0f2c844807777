"""Batches made while the model computes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from threading import Lock
from typing import Protocol

from torch_geometric.data import Data


class Loader(Protocol):
    """Makes batches."""

    def __len__(self) -> int:
        """Number of batches."""

    def __iter__(self) -> Iterator[Data]:
        """The batches."""


class Prefetched:
    """The batches of a loader, of which the next is made in the background while one is in use.

    On a GPU the thread of the background uses the stream of all others, so what it makes is ready when it is
    used; what is saved is the time in which the GPU would wait for Python.

    Args:
        loader: of batches. It takes random numbers, if any, from a generator of its own.
        executor: makes the batches, in a thread. None: the loader has workers, and is only timed.
        then: called in that thread after the last batch was made.
    """

    def __init__(
        self, loader: Loader, executor: Executor | None, then: Callable[[], None] = lambda: None
    ) -> None:
        self.loader = loader
        self.executor = executor
        self.then = then
        self.seconds_waiting = 0.0
        self._batches: Iterator[Data] | None = None
        self._next: Future[Data | None] | None = None
        self._lock = Lock()

    def begin(self) -> None:
        """Begins to make the first batch, if nobody has."""
        with self._lock:
            if self._next is None and self.executor is not None:
                self._next = self.executor.submit(self._make)

    def __len__(self) -> int:
        """Number of batches."""
        return len(self.loader)

    def __iter__(self) -> Iterator[Data]:
        """The batches, once."""
        self.begin()
        while True:
            start = time.perf_counter()
            batch = self._make() if self._next is None else self._next.result()
            self.seconds_waiting += time.perf_counter() - start
            if batch is None:
                return
            if self.executor is not None:
                self._next = self.executor.submit(self._make)
            yield batch

    def _make(self) -> Data | None:
        if self._batches is None:
            self._batches = iter(self.loader)
        batch = next(self._batches, None)
        if batch is None:
            self.then()
        return batch
