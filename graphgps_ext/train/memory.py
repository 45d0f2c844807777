"""Peak memory of a run: resident set of the process, and allocations on the GPU."""

from __future__ import annotations

import resource
import sys
from pathlib import Path

import torch

MB = 1e6


def reset_peak() -> None:
    """Starts the measurement anew, so that several runs in one process are told apart."""
    try:
        Path('/proc/self/clear_refs').write_text('5')  # Linux: resets VmHWM
    except OSError:
        pass  # then the peak is that of the process so far
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()


def peak_rss_mb() -> float:
    """Peak resident set since :func:`reset_peak`, in 10⁶ bytes."""
    status = Path('/proc/self/status')
    if status.exists():
        for line in status.read_text().splitlines():
            if line.startswith('VmHWM'):
                return int(line.split()[1]) * 1024 / MB
    factor = 1 if sys.platform == 'darwin' else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * factor / MB


def peak_gpu_mb() -> float:
    """Peak of allocations on the GPU since :func:`reset_peak`, in 10⁶ bytes; 0 without one."""
    return torch.cuda.max_memory_allocated() / MB if torch.cuda.is_available() else 0.0
