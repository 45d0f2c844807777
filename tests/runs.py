"""Runs of run/main.py, in this process and in others, on a grid small enough for a run of half a second."""

from __future__ import annotations

import importlib.util
import json
import logging
import multiprocessing
import os
import runpy
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from torch_geometric.graphgym.config import cfg, set_cfg

REPOSITORY = Path(__file__).resolve().parent.parent
MAIN = REPOSITORY / 'run' / 'main.py'
CONFIGS = {
    'estimator': REPOSITORY / 'configs/Spexphormer/minesweeper-grid-estimator.yaml',
    'spexphormer': REPOSITORY / 'configs/Spexphormer/minesweeper-grid-spexphormer.yaml',
    'Exphormer': REPOSITORY / 'configs/Exphormer/minesweeper-grid-Exphormer.yaml',
    'real estimator': REPOSITORY / 'configs/Spexphormer/minesweeper-estimator.yaml',
    'real spexphormer': REPOSITORY / 'configs/Spexphormer/minesweeper-spexphormer.yaml',
}
PEERS = (
    'GCN',
    'GraphSAGE',
    'GATv2',
    'GPS',
    'GPSPerformer',
    'SGFormer',
    'Polynormer',
    'LINKX',
    'MLP',
    'ResGCN',
)
CONFIGS |= {name: REPOSITORY / f'configs/{name}/minesweeper-grid-{name}.yaml' for name in PEERS}
SPLITS = ('train', 'val', 'test')
SMALL = {
    'dataset.grid_side': 16,
    'prep.exp_deg': 2,
    'gt.layers': 2,
    'optim.max_epoch': 4,
    'optim.num_warmup_epochs': 1,
    'gt.attention_impl': 'torch',  # nothing to compile
    'accelerator': 'cpu',
    'num_threads': 1,  # as fast as two on graphs of this size, and no threads to wait for
    'print': 'file',
}
OF_STAGE = {
    name: {'spex.layer_degrees': [4, 3], 'spex.eval_draws': 2} for name in ('spexphormer', 'real spexphormer')
}
# What a second run of the same config, in another folder, need not repeat.
NOT_REPEATED = ('time_', 'eta', 'seconds_', 'waiting_share', 'peak_', 'scores', 'device_name', 'config_hash')

Changes = Mapping[str, Any] | None


def load_script(name: str) -> ModuleType:
    """A script of run/ as a module."""
    path = REPOSITORY / 'run' / f'{name}.py'
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def arguments(stage: str, out_dir: Path, changes: Changes = None, *options: str) -> list[str]:
    """The command line after `python`."""
    keys = {'out_dir': out_dir, **SMALL, **OF_STAGE.get(stage, {}), **(changes or {})}
    overrides = [str(part) for pair in keys.items() for part in pair]
    return [str(MAIN), '--cfg', str(CONFIGS[stage]), *options, *overrides]


@contextmanager
def as_if_alone(argv: list[str]) -> Iterator[None]:
    """Gives main.py its arguments and takes back what it leaves behind in a process."""
    root = logging.getLogger()
    before = (sys.argv, root.handlers[:], root.level, torch.get_num_threads())
    sys.argv = argv
    try:
        yield
    finally:
        for handler in root.handlers:
            if handler not in before[1]:
                handler.close()
        sys.argv, root.handlers[:] = before[0], before[1]
        root.setLevel(before[2])
        torch.set_num_threads(before[3])
        cfg.clear()
        set_cfg(cfg)


def run(stage: str, out_dir: Path, changes: Changes = None, *options: str) -> Path:
    """Runs main.py on the grid config of a stage, in this process, and gives the folder of the results.

    Args:
        stage: of `CONFIGS`.
        out_dir: `out_dir`.
        changes: keys and values beside those of `SMALL`.
        options: what stands before the keys, such as `--repeat`, `3`.
    """
    with as_if_alone(arguments(stage, out_dir, changes, *options)):
        runpy.run_path(str(MAIN), run_name='__main__')
    return out_dir / CONFIGS[stage].stem


def refusal(stage: str, out_dir: Path, changes: Changes = None, *options: str) -> str:
    """The message with which main.py exits (a text is exit code 1, and is printed to stderr)."""
    with pytest.raises(SystemExit) as caught:
        run(stage, out_dir, changes, *options)
    assert isinstance(caught.value.code, str), f'exit code {caught.value.code}, no message'
    return caught.value.code


def run_elsewhere(
    stage: str, out_dir: Path, changes: Changes = None, prepare: Callable[[], None] | None = None
) -> tuple[int, str]:
    """Runs main.py in a process of its own; exit code (below 0: the signal that ended it) and output.

    Args:
        stage: see :func:`run`.
        out_dir: see :func:`run`.
        changes: see :func:`run`.
        prepare: called in the process before main.py; a function of a module, or a partial of one.
    """
    out_dir.mkdir(parents=True, exist_ok=True)
    output = out_dir / 'output.txt'
    process = _context().Process(target=_child, args=(arguments(stage, out_dir, changes), output, prepare))
    process.start()
    return _exit_code(process), output.read_text()


def _context() -> multiprocessing.context.ForkServerContext:
    """Processes that are forked from one which has imported everything and done nothing."""
    context = multiprocessing.get_context('forkserver')
    context.set_forkserver_preload(['graphgps_ext', 'pandas', 'pytest', 'torch.utils.tensorboard'])
    return context


def _exit_code(process: BaseProcess, seconds: float = 120) -> int:
    process.join(seconds)
    if process.exitcode is None:
        process.kill()
        process.join()
        pytest.fail(f'main.py was still running after {seconds} s')
    return process.exitcode


def _child(argv: list[str], output: Path, prepare: Callable[[], None] | None) -> None:
    descriptor = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    sys.argv = argv
    if prepare is not None:
        prepare()
    runpy.run_path(str(MAIN), run_name='__main__')


def summary(run_dir: Path) -> dict[str, Any]:
    """What the run wrote at its end."""
    return json.loads((run_dir / 'summary.json').read_text())


def stats(run_dir: Path, split: str) -> list[dict[str, Any]]:
    """The epochs of one split; every line has to be whole."""
    text = (run_dir / split / 'stats.json').read_text()
    return [json.loads(line) for line in text.splitlines()]


def repeatable(record: dict[str, Any]) -> dict[str, Any]:
    """A record without times, memory and paths."""
    return {key: value for key, value in record.items() if not key.startswith(NOT_REPEATED)}


def result(run_dir: Path) -> dict[str, Any]:
    """All that a run has found, less times, memory and paths: equal for runs of the same config."""
    found: dict[str, Any] = {'summary': repeatable(summary(run_dir))}
    for split in SPLITS:
        found[split] = [repeatable(record) for record in stats(run_dir, split)]
    for file in sorted(run_dir.glob('scores/layer_*.npy')):
        found[file.name] = np.load(file).tobytes()
    return found


def files_in(folder: Path) -> list[str]:
    """Names of all files below a folder, relative to it; none if there is no folder."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob('*') if path.is_file())
