"""What a result was made with: versions, git revision, device."""

from __future__ import annotations

import functools
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

PACKAGES = ('torch', 'torch_geometric', 'graphgps_ext')


def versions() -> dict[str, str]:
    """Of Python and of what computes; a package that runs uninstalled is called so."""
    found = {'python': platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = 'not installed'
    found['torch'] = torch.__version__  # with its build: +cpu, +cu130
    return found


@functools.cache
def git_revision() -> str | None:
    """Revision of this code, `-dirty` if tracked files differ from it; None where it is in no repository.

    Asked for once per process: the code that is loaded stays what it is.
    """
    file = Path(__file__).resolve()

    def git(*arguments: str) -> str:
        command = ['git', *arguments]
        return subprocess.check_output(
            command, cwd=file.parent, stderr=subprocess.DEVNULL, text=True, timeout=10
        )

    try:
        git('ls-files', '--error-unmatch', file.name)  # it may be installed within somebody's own repository
        return git('describe', '--always', '--dirty', '--exclude=*').strip() or None
    except (OSError, subprocess.SubprocessError):
        return None


def device_name(device: torch.device) -> str:
    """The GPU by its name, a CPU by its number of threads."""
    if device.type == 'cuda':
        return torch.cuda.get_device_name(device)
    return f'{device.type}, {torch.get_num_threads()} threads'


def describe(device: torch.device) -> str:
    """The device, the versions and the revision in one line, for a report or a benchmark."""
    found = versions()
    return (
        f'{platform.machine()}, {device_name(device)}; torch {found["torch"]}, '
        f'PyG {found["torch_geometric"]}; Python {found["python"]}; revision {git_revision() or "unknown"}'
    )
