"""Compares many configs: graphgps-ext benchmark CONFIG|FOLDER ... [--repeat N] [key value ...]"""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Sequence
from itertools import takewhile
from pathlib import Path

from graphgps_ext.benchmark import workers
from graphgps_ext.benchmark.compare import run_count
from graphgps_ext.benchmark.configs import SUFFIXES, Config, find_files, read_configs
from graphgps_ext.benchmark.devices import Device, places
from graphgps_ext.benchmark.execute import Outcome, execute
from graphgps_ext.benchmark.grid import read_grid
from graphgps_ext.benchmark.plan import Run, finished_runs, plan_runs, shard, write_configs
from graphgps_ext.benchmark.progress import Progress
from graphgps_ext.benchmark.table import wrapped
from graphgps_ext.benchmark.write import check_older, write_results
from graphgps_ext.commands import main as call
from graphgps_ext.config.paths import user_path
from graphgps_ext.errors import ConfigError, DataError

EXAMPLES = """
  graphgps-ext benchmark 'configs/*/minesweeper-grid*' --repeat 2
  graphgps-ext benchmark GCN/tolokers-GCN 'Spexphormer/tolokers-*' --splits all dataset.dir DIR
  graphgps-ext benchmark GCN/actor-GCN --grid grid.txt --jobs 4
  graphgps-ext benchmark --collect results --out results/benchmark/all

The same command again goes on where it stopped. One run's failure does not stop the others.
"""
MOST_SEEDS = 10_000
NOT_OVERRIDDEN = {
    'out_dir': '--out',
    'run_dir': '--out',
    'train.run_id': '--out',
    'run_multiple_splits': '--splits',
    'accelerator': '--devices',
    'devices': '--devices',
}


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line; `configs` are config files and folders, `overrides` the pairs of key and value."""
    parser = argparse.ArgumentParser(
        prog='graphgps-ext benchmark',
        description='Runs many configs, each with several seeds or splits, and prints one table.',
        epilog='examples:' + EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add(
        'arguments',
        nargs='*',
        metavar='CONFIG',
        help='config files or folders, also shipped ones by name, then key value pairs for all',
    )
    add(
        '--grid',
        type=user_path,
        metavar='FILE',
        help="GraphGym's grid file, by which every config is expanded",
    )
    add('--repeat', type=int, default=1, metavar='N', help='seeds per config and split (1)')
    add('--splits', default='', metavar='all|0,1,..', help="splits; by default each config's own")
    add('--devices', default='auto', metavar='cpu|cuda|cuda:0,..', help='devices; cuda: all visible GPUs')
    add('--jobs', type=int, default=0, metavar='N', help='runs side by side (one for each device)')
    add('--shard', default='1/1', metavar='i/n', help='only part i of n, for job arrays')
    add(
        '--out',
        type=user_path,
        metavar='DIR',
        help='results (results/benchmark/<name of the data set or grid>)',
    )
    add('--dry-run', action='store_true', help='lists the runs and stops')
    add(
        '--collect',
        nargs='+',
        type=user_path,
        metavar='DIR',
        help='no runs: tables of finished runs or CSV files',
    )
    args = parser.parse_intermixed_args(argv)
    args.configs = list(takewhile(_names_configs, args.arguments))
    args.overrides = args.arguments[len(args.configs) :]
    return args


def _names_configs(argument: str) -> bool:
    return Path(argument).suffix in SUFFIXES or '/' in argument or os.path.isdir(argument)


def main(argv: Sequence[str] | None = None) -> int:
    """Plans, runs, tabulates; the exit status is 0 only if every run has ended well."""
    logging.basicConfig(level=logging.WARNING, format='%(message)s')
    args = parse(argv)
    if args.collect:
        if args.arguments:
            raise ConfigError(f'--collect runs nothing, got also {" ".join(args.arguments)}')
        out = args.out or (args.collect[0] if args.collect[0].is_dir() else args.collect[0].parent)
        return show(args.collect, out)
    if args.repeat > MOST_SEEDS:
        raise ConfigError(f'--repeat needs to be at most {MOST_SEEDS}, got {args.repeat}')
    for key in args.overrides[::2]:
        if key in NOT_OVERRIDDEN:
            raise ConfigError(f'{key} is set by the benchmark: use {NOT_OVERRIDDEN[key]}')
    if not args.dry_run:
        workers.serve()  # imports while the runs are planned
    grid = read_grid(args.grid) if args.grid else ()
    configs = read_configs(find_files(args.configs), args.overrides, grid)
    out = args.out or Path('results/benchmark') / default_name(configs, args.grid)
    runs = shard(plan_runs(configs, repeat=args.repeat, splits=args.splits), args.shard)
    if not runs:
        print(f'shard {args.shard} has no runs: there are fewer groups of runs than shards')
        return 0
    where = places(args.devices, args.jobs)
    check_older(out)
    done = finished_runs(runs, out)
    print(describe(runs, done, out, where, args.shard))
    if args.dry_run:
        print('\n'.join(f'  {run}{"  done" if str(run) in done else ""}' for run in runs))
        return 0
    write_configs(runs, out)
    progress = Progress(runs, done, out, len(where))
    try:
        outcome = execute(runs, done, out, where, progress, call)
    finally:
        progress.close()
    return conclude(outcome, out)


def default_name(configs: Sequence[Config], grid: Path | None) -> str:
    """What the configs have in common."""
    if grid is not None:
        return grid.stem
    for names in ({c.name.dataset for c in configs}, {c.name.model for c in configs}):
        if len(names) == 1:
            return names.pop()
    return 'all'


def describe(runs: Sequence[Run], done: set[str], out: Path, where: Sequence[Device], part: str) -> str:
    """One paragraph on what is going to happen."""
    datasets = dict.fromkeys(run.config.name.dataset for run in runs)
    models = dict.fromkeys(run.config.name.model for run in runs)
    devices = ', '.join(dict.fromkeys(device.name for device in where))
    of = '' if part == '1/1' else f' (shard {part})'
    return wrapped(
        f'{run_count(len(runs))}{of}: {len(models)} models ({", ".join(models)}) on {", ".join(datasets)}. '
        f'{len(done)} done before, {len(runs) - len(done)} to do on {devices}, {len(where)} at a time. '
        f'Results: {out}. To watch: tensorboard --logdir {out}'
    )


def conclude(outcome: Outcome, out: Path) -> int:
    """Tables of all that is finished, then what failed; what has stopped it goes on."""
    try:
        show([out], out)
    except DataError as error:
        print(f'\n{error}')
    if outcome.failed:
        print(f'\n{run_count(len(outcome.failed))} failed:', file=sys.stderr)
        for name, reason in outcome.failed.items():
            print(f'  {name}: {reason}', file=sys.stderr)
        print('The same command again takes up what is missing.', file=sys.stderr)
    if outcome.interrupted:
        raise outcome.interrupted
    return int(bool(outcome.failed))


def show(sources: Sequence[Path], out: Path) -> int:
    """Writes and prints the tables."""
    page, notes = write_results(sources, out)
    print(f'\n{page.partition(chr(10))[2].strip()}\n')
    for note in notes:
        print(f'note: {note}', file=sys.stderr)
    names = sorted(path.name for path in out.iterdir() if path.stem in ('results', 'table', 'figures'))
    print(f'Written to {out}: {", ".join(names)}')
    return 0
