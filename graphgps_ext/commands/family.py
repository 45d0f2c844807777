"""Trains the family of networks that `analyze --widths` compares: one process per network."""

from __future__ import annotations

import argparse
import shlex
from functools import partial
from pathlib import Path

from torch_geometric.graphgym.config import cfg

from graphgps_ext.analysis import Run, find_runs
from graphgps_ext.benchmark import workers
from graphgps_ext.commands import main as call
from graphgps_ext.config.load import load_config
from graphgps_ext.errors import ConfigError, UserError

_OURS = ('gt.dim_hidden', 'gnn.dim_inner', 'prep.exp', 'out_dir')
_EXPANDER = {'expander': True, 'no-expander': False}


def parse_widths(text: str, reference: int | None) -> list[int]:
    """Different whole numbers from 1 up, separated by commas, among them the reference."""
    try:
        widths = [int(part) for part in text.split(',')]
    except ValueError:
        widths = []
    if not widths or min(widths) < 1 or len({*widths}) < len(widths):
        raise ConfigError(
            f'--widths needs different whole numbers from 1 up, such as 4,8,16,32,64, got {text!r}'
        )
    if reference is not None and reference not in widths:
        raise ConfigError(f'--reference {reference} needs to be one of --widths {text}')
    return widths


def train_family(arguments: argparse.Namespace) -> Path:
    """Trains for each width, with and without expander; finished runs are skipped.

    The runs lie in `<folder>/{expander,no-expander}/width-<w>/<config name>/<seed>`; the folder is returned.

    Raises:
        ConfigError: before anything is trained, if the config or the options cannot be used.
        UserError: if a network cannot be trained; what was trained stays.
    """
    widths = parse_widths(arguments.widths, arguments.reference)
    _check(arguments)
    workers.serve()
    folder = arguments.runs or Path(cfg.out_dir) / f'{arguments.cfg.stem}-widths'
    for name, expander in _EXPANDER.items():
        for width in widths:
            keys = ['out_dir', str(folder / name / f'width-{width}'), 'prep.exp', str(expander)]
            keys += ['gt.dim_hidden', str(width), 'gnn.dim_inner', str(width)]
            command = ['train', '--cfg', str(arguments.cfg), '--repeat', str(arguments.seeds)]
            command += [*keys, *arguments.rest]
            print(f'training width {width}, {name}, {arguments.seeds} seeds', flush=True)
            log = folder / 'logs' / f'{name}-width-{width}.log'
            worker = workers.start(partial(call, command), log=log, line=shlex.join(command))
            try:
                workers.wait([worker])
            finally:
                workers.stop([worker])
            if worker.code:
                raise UserError(
                    f'width {width}, {name}, was not trained: {worker.reason()}; {log}\n'
                    f'the same command again goes on from here'
                )
    return folder


def _check(arguments: argparse.Namespace) -> None:
    if arguments.seeds < 1:
        raise ConfigError(f'--seeds needs to be at least 1, got {arguments.seeds}')
    load_config(cfg, arguments.cfg, arguments.rest)
    taken = [key for key in arguments.rest[::2] if key in _OURS]
    if taken:
        raise ConfigError(f'{taken[0]} is set for each network of a family: leave it out (--widths, --runs)')
    if cfg.run_multiple_splits:
        raise ConfigError('a family has seeds on one split: leave out run_multiple_splits (--seeds)')
    if cfg.train.mode != 'spexphormer_estimator':
        raise ConfigError(
            f'{arguments.cfg} writes no attention scores: train.mode needs to be spexphormer_estimator, '
            f'got {cfg.train.mode}'
        )


def family_runs(arguments: argparse.Namespace, folder: Path) -> list[Run]:
    """The runs of the family asked for; others in the folder are left out."""
    widths = parse_widths(arguments.widths, arguments.reference)
    seeds = range(cfg.seed, cfg.seed + arguments.seeds)
    return [run for run in find_runs(folder) if run.width in widths and run.manifest.seed in seeds]
