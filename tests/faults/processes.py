"""Calls in warm processes, a few side by side, with a limit of time; and what they leave behind."""

from __future__ import annotations

import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path

from graphgps_ext.benchmark import workers
from graphgps_ext.benchmark.workers import Worker

OUTPUT = 'output.txt'
CACHE = 'cache'
LIMIT_SECONDS = 60.0

Call = Callable[[], int | None]


def side_by_side(
    calls: Iterable[tuple[str, Call, Path, float]], *, jobs: int
) -> Iterator[tuple[str, int | None, str, float]]:
    """Carries calls out and tells of each as soon as it has ended.

    Args:
        calls: name, what to call (a function of a module, or a partial of one), its current folder, and the
            seconds after which it is ended; taken one at a time, when there is room.
        jobs: number of processes.

    Yields:
        The name, the exit status (below 0 the signal; None: its time was up), the output, and the seconds.
    """
    workers.serve('faults.cases')
    waiting = iter(calls)
    running: dict[str, tuple[Worker, Path, float]] = {}
    try:
        while True:
            while len(running) < jobs and (one := next(waiting, None)) is not None:
                name, call, folder, seconds = one
                running[name] = (_start(call, folder), folder, seconds)
            if not running:
                return
            workers.wait([worker for worker, *_ in running.values()], 0.2)
            for name, (worker, folder, seconds) in list(running.items()):
                took = time.monotonic() - worker.start
                code = worker.code
                if code is None and took < seconds:
                    continue
                if code is None:
                    workers.stop([worker])
                del running[name]
                output = folder / OUTPUT  # there is none of a process that was stopped as it began
                text = output.read_text(encoding='utf-8', errors='replace') if output.exists() else ''
                yield name, code, text, took
    finally:
        workers.stop([worker for worker, *_ in running.values()])


def _start(call: Call, folder: Path) -> Worker:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / OUTPUT).unlink(missing_ok=True)
    variables = {'GRAPHGPS_EXT_CACHE': str(folder.absolute() / CACHE), 'HOME': str(folder.absolute())}
    return workers.start(
        partial(_in_folder, call, folder.absolute()),
        log=folder.absolute() / OUTPUT,
        environment=variables,
        threads=1,
    )


def _in_folder(call: Call, folder: Path) -> int | None:
    os.chdir(folder)
    return call()


def forked(call: Call) -> int:
    """Calls in a fork of this process, which leads a group of its own; its id."""
    if pid := os.fork():
        return pid
    code: int | None = 1
    try:
        os.setsid()
        for how in (signal.SIGINT, signal.SIGTERM):
            signal.signal(how, signal.default_int_handler if how == signal.SIGINT else signal.SIG_DFL)
        code = call()
    except SystemExit as stop:
        if isinstance(stop.code, str):
            print(stop.code, file=sys.stderr)
        code = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        os._exit(code or 0)


def ended(pid: int, seconds: float = LIMIT_SECONDS) -> int | None:
    """Waits for a fork; its exit status, below 0 the signal, None if its time was up (it is killed)."""
    deadline = time.monotonic() + seconds
    while True:
        found, status = os.waitpid(pid, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() > deadline:
            os.killpg(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            return None
        time.sleep(0.01)


def processes_in(folder: Path) -> list[int]:
    """The processes, other than this one, whose current folder is `folder` or one below it."""
    found = []
    for entry in Path('/proc').iterdir():
        if not entry.name.isdecimal() or int(entry.name) == os.getpid():
            continue
        try:
            current = Path(os.readlink(entry / 'cwd'))
            ended = (entry / 'stat').read_text().rpartition(')')[2].split()[0] == 'Z'
        except OSError:  # it has ended, or belongs to somebody else
            continue
        if not ended and (current == folder or folder in current.parents):
            found.append(int(entry.name))
    return found


def all_gone(folder: Path, seconds: float) -> bool:
    """Whether all processes of a folder end within the time given."""
    deadline = time.monotonic() + seconds
    while processes_in(folder):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True
