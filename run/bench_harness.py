"""What the benchmarks share: options, timing, peak memory, bandwidth, scripts in processes, a table, JSON."""

from __future__ import annotations

import ctypes
import gc
import json
import statistics
import subprocess
import sys
import timeit
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from tabulate import tabulate
from torch.utils.benchmark import Timer

from graphgps_ext.files import written
from graphgps_ext.train.memory import MB, peak_rss_mb, reset_peak, rss_mb

RUN = Path(__file__).resolve().parent
CONFIGS = RUN.parent / 'configs'


def parser(doc: str | None, groups: Collection[str] = (), default: Sequence[str] = ()) -> ArgumentParser:
    """The options of a benchmark: its docstring, its groups of cases, and those measured unless asked."""
    made = ArgumentParser(description=doc, formatter_class=RawDescriptionHelpFormatter)
    made.add_argument('--json', metavar='FILE', help='write the rows here')
    if not groups:
        return made
    device = 'cuda' if torch.cuda.is_available() else 'cpu'
    made.add_argument('--device', default=device, choices=('cuda', 'cpu'))
    made.add_argument('--groups', nargs='+', choices=sorted(groups), default=default, help='%(default)s')
    made.add_argument('--impl', default='', help='only implementations matching this regular expression')
    made.add_argument('--seconds', type=float, default=1.0, help='of measuring, for each row')
    return made


def run_script(script: list[str], name: str) -> str:
    """What a Python script prints, run with its arguments in a process of its own.

    Raises:
        SystemExit: with the end of its errors and this name, if it fails.
    """
    done = subprocess.run([sys.executable, *script], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f'{name} failed:\n{done.stderr[-3000:]}')
    return done.stdout


def median_ms(
    function: Callable[[], Any],
    device: str,
    *,
    seconds: float = 1.0,
    clock: Callable[[], float] = timeit.default_timer,
) -> float:
    """Median milliseconds of a call after a warm-up, over about `seconds`.

    On CUDA the cache of the device is flushed before each call; on the CPU it is as the last call left it.

    Args:
        function: called many times.
        device: `cuda` or `cpu`.
        seconds: of measuring; the first call is not counted.
        clock: of the CPU; `time.process_time` adds up all threads.
    """
    function()  # may compile
    if device == 'cuda':
        from triton.testing import do_bench  # CPU builds of torch bring no Triton

        return do_bench(function, warmup=100, rep=int(1e3 * seconds), return_mode='median')
    threads = torch.get_num_threads()
    timer = Timer('function()', timer=clock, globals={'function': function}, num_threads=threads)
    return 1e3 * timer.blocked_autorange(min_run_time=seconds).median


def host_ms(function: Callable[[], Any], *, calls: int = 100) -> float:
    """Median milliseconds after which a call on CUDA returns, while the device may still be at work."""
    times = []
    for _ in range(calls):
        torch.cuda.synchronize()
        start = timeit.default_timer()
        function()
        times.append(1e3 * (timeit.default_timer() - start))
    torch.cuda.synchronize()
    return statistics.median(times)


def device_ms(function: Callable[[], Any], *, seconds: float = 1.0) -> float | None:
    """Median milliseconds of a call on CUDA without its host: replays of a CUDA graph.

    None, and the reason printed, if the call cannot be captured.
    """
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):  # a capture wants a warm-up on a stream of its own
        function()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    try:
        with torch.cuda.graph(graph):
            function()
    except RuntimeError as error:
        torch.cuda.synchronize()
        print(f'no CUDA graph, hence no device_ms: {str(error).splitlines()[0]}')
        return None
    return median_ms(graph.replay, 'cuda', seconds=seconds)


def extra_mb(function: Callable[[], Any], device: str) -> float | None:
    """Peak memory (10⁶ bytes) during a call above what was there before; None where it cannot be read.

    On the CPU it is the resident set of the process, so a call after a warm-up counts what it touches anew.
    """
    gc.collect()
    if device == 'cuda':
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        function()
        torch.cuda.synchronize()
        return (torch.cuda.max_memory_allocated() - before) / MB
    try:
        ctypes.CDLL('libc.so.6').malloc_trim(0)
    except OSError:
        return None
    resident = rss_mb() if reset_peak() else None
    function()
    return None if resident is None else peak_rss_mb() - resident


def copy_bandwidth(device: str, seconds: float = 1.0) -> float:
    """Bytes per second of a copy of float32, reads and writes counted: 1 GB (CPU: 256 MB)."""
    source = torch.zeros(2**28 if device == 'cuda' else 2**26, device=device)
    target = torch.empty_like(source)
    return 2 * source.numel() * 4 / median_ms(lambda: target.copy_(source), device, seconds=seconds) * 1e3


def print_table(rows: Iterable[dict[str, Any]], columns: Sequence[str]) -> None:
    """The columns of the rows, three digits of each number."""
    cells = [[_cell(row.get(column)) for column in columns] for row in rows]
    print(tabulate(cells, columns, missingval='-'), end='\n\n', flush=True)


def _cell(value: Any) -> Any:
    if not isinstance(value, float):
        return value
    return f'{value:.3g}' if abs(value) < 100 else f'{value:.0f}'


def write_json(path: str | None, rows: list[dict[str, Any]]) -> None:
    """Writes the rows, unless no path is given."""
    if path:
        with written(Path(path)) as file:
            file.write_text(json.dumps(rows, indent=1) + '\n')
        print(f'{len(rows)} rows written to {path}')
