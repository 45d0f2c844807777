"""Peak memory: resident set of the process, and allocations on the GPU."""

from __future__ import annotations

import resource
import sys
from pathlib import Path

import torch

MB = 1e6


def reset_peak() -> bool:
    """Starts the measurement anew, so that several runs in one process are told apart.

    Returns:
        Whether that of the resident set could be; otherwise its peak is that of the process so far.
    """
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    try:
        Path('/proc/self/clear_refs').write_text('5')  # Linux: resets VmHWM
    except OSError:
        return False
    return True


def peak_rss_mb() -> float:
    """Peak resident set since :func:`reset_peak`, in 10⁶ bytes."""
    factor = 1 if sys.platform == 'darwin' else 1024
    peak = _status_mb('VmHWM')
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * factor / MB if peak is None else peak


def rss_mb() -> float | None:
    """Resident set of this moment, in 10⁶ bytes; None where the system does not tell."""
    return _status_mb('VmRSS')


def _status_mb(key: str) -> float | None:
    """A line of /proc/self/status (Linux)."""
    status = Path('/proc/self/status')
    for line in status.read_text().splitlines() if status.exists() else ():
        if line.startswith(key):
            return int(line.split()[1]) * 1024 / MB
    return None


def peak_gpu_mb() -> float:
    """Peak of allocations on the GPU since :func:`reset_peak`, in 10⁶ bytes; 0 without one."""
    return torch.cuda.max_memory_allocated() / MB if torch.cuda.is_available() else 0.0
