"""How the numba kernels are compiled and spread over cores.

The kernels are plain (not `parallel=True`) functions which release the GIL and work on a range of chunks; a
pool of ordinary threads drives them. numba's own threading layers are avoided on purpose: GNU OpenMP aborts
in a forked DataLoader worker, the `workqueue` layer aborts when two Python threads (say, a loader and
autograd) enter it at once, and parallel functions compile much slower. Here a forked child simply makes its
own pool, and `torch.get_num_threads()` (1 inside DataLoader workers) is obeyed at each call. Results are
equal for every number of threads: rows are independent of each other or, where sums run across chunks, the
chunks depend on the data only.

numba's disk cache looks at the file of a kernel, not at the files of the functions inlined into it: after a
change to those, delete `__pycache__`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numba import njit
from numpy.typing import NDArray

# Everything but nnan and ninf: a NaN in the input must reach the output.
FASTMATH = {'reassoc', 'contract', 'arcp', 'nsz'}

CHUNK_ENTRIES = 16_384  # some 0.2 ms of a draw, below which a further thread costs more than it brings

_pool: ThreadPoolExecutor | None = None
_pool_size = 0


def kernel(
    fastmath: set[str] | bool = FASTMATH, *, inline: bool = False
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Decorator: compile at the first call, without the GIL, and cache the machine code on disk.

    `inline` is for the small functions which kernels call per edge: a call that passes arrays costs more than
    the work. numba caches beside the source or, where that is read-only, in the user's cache directory
    (NUMBA_CACHE_DIR overrides both); where neither can be written it raises, and the kernel is compiled anew
    in each process.
    """

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        options: dict[str, Any] = {'nogil': True, 'fastmath': fastmath, 'forceinline': inline}
        try:
            return njit(cache=True, **options)(function)
        except RuntimeError:  # no cache directory can be written
            return njit(**options)(function)

    return decorate


def row_chunks(offsets: NDArray[np.int64], num_chunks: int | None = None) -> list[int]:
    """Cuts rows into ranges that hold about equally much; a row is never cut, and ranges may be empty.

    Args:
        offsets: [N + 1], ascending from 0; row i holds the entries `offsets[i]:offsets[i + 1]`.
        num_chunks: how many; None = some for each of torch's threads, where the ranges do not change results.

    Returns:
        `num_chunks` + 1 boundaries, from 0 to N.
    """
    num_entries = int(offsets[-1])
    if num_chunks is None:
        num_chunks = max(1, min(16 * torch.get_num_threads(), num_entries // CHUNK_ENTRIES))
    inner = np.searchsorted(offsets, num_entries * np.arange(1, num_chunks) // num_chunks)
    return [0, *inner.tolist(), len(offsets) - 1]


def row_ranges(offsets: NDArray[np.int64], size: int) -> Iterator[tuple[int, int]]:
    """Ranges (first, last) of rows that hold about `size` entries each: bounds the memory of work on one."""
    for first, last in pairwise(row_chunks(offsets, max(1, -(-int(offsets[-1]) // size)))):
        if first < last:
            yield first, last


def run_chunks(work: Callable[[int], None], num_chunks: int) -> None:
    """Call `work(chunk)` once for each chunk on up to `torch.get_num_threads()` threads, this one included.

    Threads take the next chunk when they finish one, so uneven chunks balance. The first exception is raised.
    """
    threads = min(torch.get_num_threads(), num_chunks)
    chunks = iter(range(num_chunks))

    def drain() -> None:
        for chunk in chunks:  # `next` on a range iterator is atomic under the GIL
            work(chunk)

    if threads <= 1:
        drain()
        return
    pool = _executor(threads - 1)
    helpers = [pool.submit(drain) for _ in range(threads - 1)]
    try:
        drain()
    finally:
        for helper in helpers:
            if not helper.cancel():  # a pool busy with another caller's work may not have begun ours
                helper.result()


def _executor(size: int) -> ThreadPoolExecutor:
    global _pool, _pool_size
    if _pool is None or _pool_size < size:
        # An outgrown pool finishes what it was given; its idle threads end when it is collected.
        _pool, _pool_size = ThreadPoolExecutor(size, thread_name_prefix='graphgps_ext'), size
    return _pool


def _forget_pool() -> None:
    global _pool, _pool_size
    _pool, _pool_size = None, 0


os.register_at_fork(after_in_child=_forget_pool)
