"""Runs of `graphgps-ext train`, in this process and in others, on a grid small enough for half a second."""

from __future__ import annotations

import importlib.util
import json
import logging
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from torch_geometric.graphgym.config import cfg, set_cfg

from graphgps_ext.benchmark import workers
from graphgps_ext.commands import main

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
def as_if_alone() -> Iterator[None]:
    """Takes back what a command leaves behind in a process."""
    root = logging.getLogger()
    before = (root.handlers[:], root.level, torch.get_num_threads())
    try:
        yield
    finally:
        for handler in root.handlers:
            if handler not in before[0]:
                handler.close()
        root.handlers[:] = before[0]
        root.setLevel(before[1])
        torch.set_num_threads(before[2])
        cfg.clear()
        set_cfg(cfg)


def run(stage: str, out_dir: Path, changes: Changes = None, *options: str) -> Path:
    """Trains the grid config of a stage, in this process, and gives the folder of the results.

    Args:
        stage: of `CONFIGS`.
        out_dir: `out_dir`.
        changes: keys and values beside those of `SMALL`.
        options: what stands before the keys, such as `--repeat`, `3`.
    """
    with as_if_alone():
        main(['train', *arguments(stage, out_dir, changes, *options)[1:]])
    return out_dir / CONFIGS[stage].stem


def refusal(stage: str, out_dir: Path, changes: Changes = None, *options: str) -> str:
    """The message with which it exits (a text is exit code 1, and is printed to stderr)."""
    with pytest.raises(SystemExit) as caught:
        run(stage, out_dir, changes, *options)
    assert isinstance(caught.value.code, str), f'exit code {caught.value.code}, no message'
    return caught.value.code


def run_elsewhere(
    stage: str, out_dir: Path, changes: Changes = None, prepare: Callable[[], None] | None = None
) -> tuple[int, str]:
    """Trains in a process of its own; exit code (below 0: the signal that ended it) and output.

    Args:
        stage: see :func:`run`.
        out_dir: see :func:`run`.
        changes: see :func:`run`.
        prepare: called in the process before it; a function of a module, or a partial of one.
    """
    output = out_dir / 'output.txt'
    output.unlink(missing_ok=True)
    workers.serve('pytest')
    work = partial(_train_prepared, arguments(stage, out_dir, changes)[1:], prepare)
    worker = workers.start(work, log=output)
    if not workers.wait([worker], seconds=120):
        workers.stop([worker])
        pytest.fail(f'it was still running after 120 s: {output.read_text()}')
    assert worker.code is not None
    return worker.code, output.read_text()


def _train_prepared(argv: list[str], prepare: Callable[[], None] | None) -> int | None:
    if prepare is not None:
        prepare()
    return main(['train', *argv])


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
