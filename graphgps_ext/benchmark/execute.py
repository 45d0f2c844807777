"""Carries runs out, each in a process of its own: a crash or lack of memory ends that run alone."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from graphgps_ext.benchmark import workers
from graphgps_ext.benchmark.devices import Device
from graphgps_ext.benchmark.plan import Run, config_file
from graphgps_ext.benchmark.progress import Progress
from graphgps_ext.benchmark.workers import Worker
from graphgps_ext.train.results import has_ended, write_json

TIMING = 'benchmark.json'  # in a run's folder: under which conditions its times were taken
SHOWN_SECONDS = 1.0  # between two looks at the progress


@dataclass
class Outcome:
    """What became of the runs that were not done before.

    Args:
        done: names of those that ended well.
        failed: name → reason, of those that did not, or could not start.
        interrupted: what has stopped it.
    """

    done: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    interrupted: KeyboardInterrupt | None = None


@dataclass
class _Running:
    run: Run
    place: Device
    worker: Worker


def log_file(run: Run, out: Path) -> Path:
    """What a run prints; beside the results, as a run may empty their folder."""
    return out / 'logs' / run.config.name.dataset / run.config.name.model / f'{run.id}.log'


def command(run: Run, out: Path, place: Device) -> list[str]:
    """The command that carries a run out, and its arguments."""
    return ['train', '--cfg', str(config_file(run.config, out)), *run.overrides(out), *place.overrides()]


def execute(
    runs: Sequence[Run],
    done: set[str],
    out: Path,
    places: Sequence[Device],
    progress: Progress,
    call: Callable[[list[str]], int | None],
) -> Outcome:
    """Carries out what is not done, each run after its estimator, as many at a time as there are places.

    Ctrl-C and SIGTERM end the running processes, as does the end of this one, however it comes; they go on
    where they stopped when called again.

    Args:
        runs: in the order in which they are to start.
        done: names of the finished ones.
        out: the folder of the benchmark; its configs are written.
        places: a device for each process.
        progress: is told what happens.
        call: carries out a :func:`command` in its process; a function of a module.
    """
    waiting = [run for run in runs if str(run) not in done]
    finished = set(done)
    free = list(places)
    running: list[_Running] = []
    outcome = Outcome()
    try:
        while waiting or running:
            for run in list(waiting):
                needed = None if run.estimator is None else str(run.estimator)
                if needed in outcome.failed:
                    waiting.remove(run)
                    _failed(run, f'needs {needed}, which failed', outcome, progress)
                elif free and (needed is None or needed in finished):
                    waiting.remove(run)
                    place = free.pop(0)
                    running.append(_Running(run, place, _start(run, out, place, call)))
            progress.show([(r.run, r.worker.start) for r in running], waiting)
            ended = workers.wait([r.worker for r in running], SHOWN_SECONDS)
            for one in [r for r in running if r.worker in ended]:
                running.remove(one)
                free.insert(0, one.place)
                _end(one, out, len(places), outcome, progress)
            finished.update(outcome.done)
    except KeyboardInterrupt as interrupted:
        outcome.interrupted = interrupted
        progress.say('stopping ...')
    finally:
        workers.stop([r.worker for r in running])
    return outcome


def _start(run: Run, out: Path, place: Device, call: Callable[[list[str]], int | None]) -> Worker:
    arguments = command(run, out, place)
    return workers.start(
        partial(call, arguments),
        log=log_file(run, out),
        line=shlex.join(arguments),
        environment=place.environment(),
        threads=place.threads,
    )


def _end(ended: _Running, out: Path, jobs: int, outcome: Outcome, progress: Progress) -> None:
    """Takes note of a process that has ended."""
    run, worker = ended.run, ended.worker
    seconds = time.monotonic() - worker.start
    if worker.code == 0 and has_ended(run.folder(out)):
        write_json(run.folder(out) / TIMING, {'jobs': jobs, 'seconds_wall': round(seconds, 1)})
        outcome.done.append(str(run))
        progress.done(run, seconds)
    elif worker.code == workers.BUSY:
        _failed(run, worker.reason(), outcome, progress)
    else:
        _failed(run, f'{worker.reason()}; {worker.log}', outcome, progress)


def _failed(run: Run, reason: str, outcome: Outcome, progress: Progress) -> None:
    outcome.failed[str(run)] = reason
    progress.failed(run, reason)
