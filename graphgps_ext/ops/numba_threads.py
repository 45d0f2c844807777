"""How the numba kernels are compiled and spread over cores.

The kernels are plain (not `parallel=True`) functions which release the GIL and work on a range of chunks; a
pool of ordinary threads drives them. numba's own threading layers are avoided on purpose: GNU OpenMP aborts
in a forked DataLoader worker, the `workqueue` layer aborts when two Python threads (say, a loader and
autograd) enter it at once, and parallel functions compile much slower. Here a forked child simply makes its
own pool, `torch.get_num_threads()` (1 inside DataLoader workers) is obeyed at each call, and the chunks
depend on the data only, so results are equal for every number of threads.

numba's disk cache looks at the file of a kernel, not at the files of the functions inlined into it: after a
change to those, delete `__pycache__`.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch
from numba import njit

# Everything but nnan and ninf: a NaN in the input must reach the output.
FASTMATH = {'reassoc', 'contract', 'arcp', 'nsz'}

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
