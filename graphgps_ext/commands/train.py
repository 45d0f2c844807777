"""Trains the models of one config, one run after the other: seeds, or splits (`run_multiple_splits`)."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import torch
from lightning_fabric.utilities.rank_zero import rank_zero_only
from torch_geometric.graphgym.config import cfg

from graphgps_ext.config.graphgym import LARGEST_SEED
from graphgps_ext.config.load import load_config
from graphgps_ext.config.shipped import find_config
from graphgps_ext.config.unread import watching
from graphgps_ext.errors import ConfigError
from graphgps_ext.train.aggregate import aggregate
from graphgps_ext.train.metrics import best_metric
from graphgps_ext.train.runs import choose_run, run_once


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line, that of GraphGym's own main."""
    parser = argparse.ArgumentParser(prog='graphgps-ext train', description=__doc__)
    add = parser.add_argument
    add('--cfg', required=True, metavar='FILE', help='config file, or the name of one in configs/')
    add('--repeat', type=int, default=1, metavar='N', help='number of seeds (1)')
    add('--mark_done', action='store_true', help='renames the config file to <name>_done at the end')
    add('opts', nargs=argparse.REMAINDER, metavar='key value', help='overrides of config keys')
    return parser.parse_args(argv)


def train_all(out_dir: Path, repeat: int) -> None:
    """The runs of `cfg`, in folders below this one."""
    if cfg.run_multiple_splits and repeat != 1:
        raise ConfigError('--repeat needs to be 1 with run_multiple_splits: its runs are the splits')
    if repeat < 1:
        raise ConfigError(f'--repeat needs to be at least 1, got {repeat}')
    if cfg.seed + repeat - 1 > LARGEST_SEED:
        raise ConfigError(f'the last seed, seed + --repeat - 1, needs to be at most {LARGEST_SEED}')
    if cfg.train.run_id and (cfg.run_multiple_splits or repeat > 1):
        raise ConfigError('train.run_id names the folder of one run: it needs --repeat 1 and no splits')
    torch.set_num_threads(min(cfg.num_threads, os.cpu_count() or 1))
    for number in range(len(cfg.run_multiple_splits) or repeat):
        choose_run(out_dir, number)
        run_once()


def main(argv: Sequence[str] | None = None) -> None:
    """All runs of the config, then their aggregate."""
    args = parse(argv)
    file = find_config(args.cfg)
    asked = load_config(cfg, file, args.opts)
    with watching(cfg, asked):
        out_dir = Path(cfg.out_dir) / file.stem
        train_all(out_dir, args.repeat)
    if cast(Any, rank_zero_only).rank != 0:
        return
    best, lines = aggregate(Path(cfg.run_dir))
    print(*lines, told(out_dir, best['test']), sep='\n')
    if args.mark_done:
        file.rename(f'{file}_done')


def told(out_dir: Path, best: dict[str, float]) -> str:
    """The line on the mean; a single run has no deviation."""
    metric = best_metric([name for name in best if not name.endswith('_std')])
    spread, runs = (f' ± {best[f"{metric}_std"]:.4f}', 'runs') if best['runs'] > 1 else ('', 'run')
    return f'{out_dir}: test {metric} {best[metric]:.4f}{spread} over {best["runs"]} {runs}'
