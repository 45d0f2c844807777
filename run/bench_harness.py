"""What the benchmarks share: timing, peak memory, bandwidth, a table and a JSON file."""

from __future__ import annotations

import ctypes
import gc
import json
import platform
import statistics
import subprocess
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import torch


def synchronize(device: str) -> None:
    if device == 'cuda':
        torch.cuda.synchronize()


def median_ms(function: Callable[[], Any], device: str, *, seconds: float = 1.0, most: int = 50) -> float:
    """Median milliseconds of a call after a warm-up, over at least 3 calls and about `seconds`."""
    function()
    synchronize(device)
    times: list[float] = []
    begin = time.perf_counter()
    while len(times) < 3 or (time.perf_counter() - begin < seconds and len(times) < most):
        start = time.perf_counter()
        function()
        synchronize(device)
        times.append((time.perf_counter() - start) * 1e3)
    return statistics.median(times)


def extra_mb(function: Callable[[], Any], device: str) -> float | None:
    """Peak memory (10^6 bytes) during a call above what was there before; None where it cannot be read.

    On the CPU it is the resident set of the process, so a call after a warm-up counts what it touches anew.
    """
    gc.collect()
    if device == 'cuda':
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        function()
        synchronize(device)
        return (torch.cuda.max_memory_allocated() - before) / 1e6
    try:
        ctypes.CDLL('libc.so.6').malloc_trim(0)
        Path('/proc/self/clear_refs').write_text('5')  # resets the peak
        before = _status('VmRSS')
        function()
        return (_status('VmHWM') - before) / 1e3
    except (OSError, KeyError):
        return None


def _status(key: str) -> float:
    """A line of /proc/self/status, in kB."""
    lines = dict(line.split(':', 1) for line in Path('/proc/self/status').read_text().splitlines())
    return float(lines[key].split()[0])


def copy_bandwidth(device: str) -> float:
    """Bytes per second of a copy of 1 GB (CPU: 256 MB), reads and writes counted."""
    source = torch.zeros(2**28 if device == 'cuda' else 2**26, device=device)
    target = torch.empty_like(source)
    return 2 * source.numel() * 4 / median_ms(lambda: target.copy_(source), device) * 1e3


def describe(device: str) -> str:
    """The machine, the versions and the revision of the code that were measured."""
    if device == 'cuda':
        machine = torch.cuda.get_device_name()
    else:
        machine = f'{platform.machine()} CPU, {torch.get_num_threads()} threads'
    command = ['git', '-C', str(Path(__file__).parent), 'rev-parse', '--short', 'HEAD']
    revision = (
        subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip() or 'unknown'
    )
    return f'{machine}; torch {torch.__version__}; Python {platform.python_version()}; revision {revision}'


def print_table(rows: Iterable[dict[str, Any]], columns: Sequence[str]) -> None:
    cells = [list(columns)]
    for row in rows:
        cells.append([_cell(row.get(column)) for column in columns])
    widths = [max(len(line[i]) for line in cells) for i in range(len(columns))]
    for line in cells:
        print('  '.join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip())
    print(flush=True)


def _cell(value: Any) -> str:
    if value is None:
        return '-'
    if isinstance(value, float):
        return f'{value:.3g}' if abs(value) < 100 else f'{value:.0f}'
    return str(value)


def write_json(path: str | None, rows: list[dict[str, Any]]) -> None:
    if path:
        Path(path).write_text(json.dumps(rows, indent=1) + '\n')
        print(f'{len(rows)} rows written to {path}')
