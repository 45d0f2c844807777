"""Where runs are placed: CPUs and GPUs by the names of the command line."""

from __future__ import annotations

import os
from dataclasses import dataclass

import torch

from graphgps_ext.errors import ConfigError


@dataclass(frozen=True)
class Device:
    """A place for one run at a time.

    Args:
        name: 'cpu', or 'cuda:<i>' as torch counts in this process.
        threads: CPU threads of the run; None: as its config says.
    """

    name: str
    threads: int | None = None

    def overrides(self) -> list[str]:
        """What the run is told."""
        told = ['accelerator', 'cpu' if self.name == 'cpu' else 'cuda', 'devices', '1']
        return told if self.threads is None else [*told, 'num_threads', str(self.threads)]

    def environment(self) -> dict[str, str]:
        """The variables of the run: it sees its own GPU only."""
        if self.name == 'cpu':
            return {'CUDA_VISIBLE_DEVICES': ''}
        index = int(self.name.partition(':')[2])
        visible = [part for part in os.environ.get('CUDA_VISIBLE_DEVICES', '').split(',') if part]
        return {'CUDA_VISIBLE_DEVICES': visible[index] if visible else str(index)}


def places(text: str, jobs: int) -> list[Device]:
    """One place for each process that may run at a time.

    Args:
        text: 'auto', 'cpu', 'cuda' (every visible GPU), or names with commas, such as 'cuda:0,cuda:1'.
        jobs: number of processes, dealt to the devices in turn; 0: one for each device.

    Raises:
        ConfigError: for a device that is not there, or a negative number of jobs.
    """
    if jobs < 0:
        raise ConfigError(f'--jobs needs to be at least 1, got {jobs}')
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if text == 'auto':
        text = 'cuda' if count else 'cpu'
    if text == 'cuda' and count:
        text = ','.join(f'cuda:{i}' for i in range(count))
    names = text.split(',')
    known = ('cpu', *(f'cuda:{i}' for i in range(count)))
    if unknown := [name for name in names if name not in known]:
        raise ConfigError(f'--devices needs some of {", ".join(known)}, got {", ".join(unknown)}')
    if len({*names}) < len(names):
        raise ConfigError(f'--devices needs different names, got {text} (several runs on one: --jobs)')
    jobs = jobs or len(names)
    # Runs side by side share the cores; a run alone takes what its config says.
    threads = None if jobs == 1 else max(1, (os.cpu_count() or 1) // jobs)
    return [Device(names[number % len(names)], threads) for number in range(jobs)]
