"""Carries runs out, each as a process of run/main.py: a crash or lack of memory ends that run alone."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from graphgps_ext.benchmark.devices import Device
from graphgps_ext.benchmark.plan import Run, config_file
from graphgps_ext.benchmark.progress import Progress
from graphgps_ext.train.results import write_json

MAIN = Path(__file__).resolve().parents[2] / 'run' / 'main.py'
TIMING = 'benchmark.json'  # in a run's folder: under which conditions its times were taken
POLL_SECONDS = 0.2
GRACE_SECONDS = 20.0


@dataclass
class Outcome:
    """What became of the runs that were not done before.

    Args:
        done: names of those that ended well.
        failed: name → reason, of those that did not, or could not start.
        interrupted: whether the user stopped it.
    """

    done: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    interrupted: bool = False


@dataclass
class _Process:
    run: Run
    place: Device
    popen: subprocess.Popen[bytes]
    log: IO[bytes]
    start: float


def log_file(run: Run, out: Path) -> Path:
    """What a run prints; beside the results, as run/main.py may empty their folder."""
    return out / 'logs' / run.config.name.dataset / run.config.name.model / f'{run.id}.log'


def command(run: Run, out: Path, place: Device) -> list[str]:
    """The command line of a run."""
    main = [sys.executable, str(MAIN), '--cfg', str(config_file(run.config, out))]
    return [*main, *run.overrides(out), *place.overrides()]


def execute(
    runs: Sequence[Run], done: set[str], out: Path, places: Sequence[Device], progress: Progress
) -> Outcome:
    """Carries out what is not done, each run after its estimator, as many at a time as there are places.

    Ctrl-C and SIGTERM end the running processes, which go on where they stopped when called again.

    Args:
        runs: in the order in which they are to start.
        done: names of the finished ones.
        out: the folder of the benchmark; its configs are written.
        places: a device for each process.
        progress: is told what happens.
    """
    waiting = [run for run in runs if str(run) not in done]
    finished = set(done)
    free = list(places)
    running: list[_Process] = []
    outcome = Outcome()
    with _terminated_as_interrupted():
        try:
            while waiting or running:
                for process in [p for p in running if p.popen.poll() is not None]:
                    running.remove(process)
                    free.insert(0, process.place)
                    _end(process, out, len(places), outcome, progress)
                finished.update(outcome.done)
                for run in _started(waiting, finished, outcome, progress, out, free, running):
                    waiting.remove(run)
                progress.show([(p.run, p.start) for p in running], waiting)
                if running:
                    time.sleep(POLL_SECONDS)
        except KeyboardInterrupt:
            outcome.interrupted = True
            progress.say('stopping ...')
        finally:
            _stop(running)
    return outcome


def _started(
    waiting: Sequence[Run],
    finished: set[str],
    outcome: Outcome,
    progress: Progress,
    out: Path,
    free: list[Device],
    running: list[_Process],
) -> list[Run]:
    """Starts what can start; gives the runs that no longer wait, those that cannot run included."""
    gone = []
    for run in waiting:
        needed = None if run.estimator is None else str(run.estimator)
        if needed in outcome.failed:
            outcome.failed[str(run)] = f'needs {needed}, which failed'
            progress.failed(run, outcome.failed[str(run)])
            gone.append(run)
        elif free and (needed is None or needed in finished):
            process = _start(run, out, free[0])
            if process is None:
                outcome.failed[str(run)] = 'is running in another process at this moment'
                progress.failed(run, outcome.failed[str(run)])
            else:
                free.pop(0)
                running.append(process)
            gone.append(run)
    return gone


def _start(run: Run, out: Path, place: Device) -> _Process | None:
    """The process of a run; None if another one works on it.

    The log is the lock, which lasts as long as any process has it open.
    """
    path = log_file(run, out)
    path.parent.mkdir(parents=True, exist_ok=True)
    log = path.open('ab')
    try:
        fcntl.flock(
            log, fcntl.LOCK_EX | fcntl.LOCK_NB
        )  # shared with the child, which may outlive this process
    except BlockingIOError:
        log.close()
        return None
    line = command(run, out, place)
    log.write(f'$ {" ".join(line)}\n'.encode())
    log.flush()
    environment = place.environment(os.environ)
    # In a group of its own: Ctrl-C is passed on by `_stop`, to its workers too.
    popen = subprocess.Popen(
        line, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment, start_new_session=True
    )
    return _Process(run, place, popen, log, time.monotonic())


def _end(process: _Process, out: Path, jobs: int, outcome: Outcome, progress: Progress) -> None:
    """Takes note of a process that has ended."""
    process.log.close()
    run, code = process.run, process.popen.returncode
    seconds = time.monotonic() - process.start
    if code == 0 and (run.folder(out) / 'summary.json').is_file():
        write_json(run.folder(out) / TIMING, {'jobs': jobs, 'seconds_wall': round(seconds, 1)})
        outcome.done.append(str(run))
        progress.done(run, seconds)
    else:
        outcome.failed[str(run)] = f'{_reason(code, log_file(run, out))}; {log_file(run, out)}'
        progress.failed(run, outcome.failed[str(run)])


def _reason(code: int, log: Path) -> str:
    if code == -signal.SIGKILL:
        return 'killed, most likely for lack of memory'
    if code < 0:
        return f'ended by {signal.Signals(-code).name}'
    text = log.read_text(encoding='utf-8', errors='replace')
    lines = text[text.rfind(f'$ {sys.executable}') :].strip().splitlines()  # of the last attempt
    # Messages of several lines begin with `error:`; of a trace the last line says most.
    told = next((line for line in reversed(lines) if line.startswith('error: ')), lines[-1])
    return told.removeprefix('error: ')[:200]


def _stop(running: Sequence[_Process]) -> None:
    """Ends processes as Ctrl-C does, and those that do not listen by force."""
    for how in (signal.SIGINT, signal.SIGKILL):
        alive = [process for process in running if process.popen.poll() is None]
        for process in alive:
            _signal(process, how)
        deadline = time.monotonic() + GRACE_SECONDS
        for process in alive:
            try:
                process.popen.wait(max(0.0, deadline - time.monotonic()))
            except (subprocess.TimeoutExpired, KeyboardInterrupt):  # the user insists
                continue
    for process in running:
        process.log.close()


def _signal(process: _Process, how: signal.Signals) -> None:
    try:
        os.killpg(process.popen.pid, how)
    except ProcessLookupError:
        pass  # it has just ended


@contextmanager
def _terminated_as_interrupted() -> Iterator[None]:
    """SIGTERM, which a cluster sends when time is up, is handled as Ctrl-C."""

    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    try:
        before = signal.signal(signal.SIGTERM, interrupt)
    except ValueError:  # not in the main thread
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
