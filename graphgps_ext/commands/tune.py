"""Searches settings by the validation metric: graphgps-ext tune --cfg FILE --space FILE [key value ...]

    --trials N        trials of the study in all (default 20); the same command continues a killed search
    --study FILE      the study, an SQLite file of Optuna (default results/tune/<config name>.db)
    --estimator FILE  config of stage 1, trained before stage 2 with the same keys of `dataset`, `prep` and
                      `posenc_*`, once for each setting; the space's keys that begin with `estimator.` are its
    --repeat N        seeds of each trial, whose validation metrics are averaged (or run_multiple_splits)
    --jobs N          processes that share the study
    key value         overrides of the config, as for `train`

Files that are not there are looked for among the shipped ones (`--space search/gps`). Beside the
study stands a folder of its name: `best/`, the config files with the best settings so far, and
`trials/<number>/`, what each trial has recorded. The test metric is neither read nor printed.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

try:
    import optuna
    from sqlalchemy.exc import DatabaseError
except ModuleNotFoundError:
    from graphgps_ext.errors import UserError

    raise UserError('a search needs Optuna: pip install "graphgps_ext[tune]"') from None

from graphgps_ext.benchmark import workers
from graphgps_ext.commands import guarded
from graphgps_ext.config.paths import user_path
from graphgps_ext.config.shipped import find_config
from graphgps_ext.errors import ConfigError, UserError
from graphgps_ext.search.study import Search
from graphgps_ext.signals import Stopped


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog='graphgps-ext tune',
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('--cfg', required=True)
    parser.add_argument('--space', required=True)
    parser.add_argument('--trials', type=int, default=20)
    parser.add_argument('--study', type=user_path)
    parser.add_argument('--estimator')
    parser.add_argument('--repeat', type=int, default=1)
    parser.add_argument('--jobs', type=int, default=1)
    parser.add_argument('opts', nargs=argparse.REMAINDER)
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    """The search, in this process or in several, and its result."""
    args = parse(argv)
    for name in ('trials', 'repeat', 'jobs'):
        if getattr(args, name) < 1:
            raise ConfigError(f'--{name} needs to be at least 1, got {getattr(args, name)}')
    config = find_config(args.cfg)
    options = {
        'config': config,
        'space': find_config(args.space, '--space'),
        'study': args.study or Path(f'results/tune/{config.stem}.db'),
        'estimator': find_config(args.estimator, '--estimator') if args.estimator else None,
        'repeat': args.repeat,
        'overrides': args.opts,
    }
    if args.jobs > 1:
        workers.serve(__name__)
    with _quiet(), _of_study(options['study']):
        search = Search(**options)
        if args.jobs > 1:
            run_jobs(args.jobs, args.trials, options)
        else:
            search.run(args.trials)
    best = search.best()
    print(f'{search.path}: best validation {search.study.best_value:.4f}, config in {search.folder / "best"}')
    for key, value in best.items():
        print(f'  {key}: {value}')


@contextmanager
def _quiet() -> Iterator[None]:
    """Logs warnings alone: a run would print its test metric."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    logging.disable(logging.INFO)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)


@contextmanager
def _of_study(path: Path) -> Iterator[None]:
    """What SQLite refuses is a full or read-only disk, or a file that holds something else."""
    try:
        yield
    except (DatabaseError, optuna.exceptions.StorageInternalError) as error:
        told = error if isinstance(error, DatabaseError) else error.__cause__ or error
        reason = getattr(told, 'orig', told)
        raise UserError(f'the study {path} cannot be read or written: {reason} (--study)') from error


def run_jobs(jobs: int, trials: int, options: dict[str, Any]) -> None:
    """Processes that share the study, until all have ended."""
    running = [
        workers.start(partial(guarded, partial(run_job, number, trials, options)))
        for number in range(1, jobs + 1)
    ]
    failed, waiting = 0, running
    try:
        while waiting:
            ended = workers.wait(waiting)
            waiting = [worker for worker in waiting if worker not in ended]
            failed += sum(worker.code != 0 for worker in ended)
    finally:
        workers.stop(waiting)
    if failed:
        raise UserError(f'{failed} of {jobs} processes failed: see their messages above')


def run_job(number: int, trials: int, options: dict[str, Any]) -> None:
    """What one of the processes does."""
    try:
        with _quiet(), _of_study(options['study']):
            Search(**options, job=number).run(trials)
    except Stopped as stopped:
        sys.exit(stopped.status)  # the command has a message for all
