"""Processes that start with everything imported: forked from a server which has done nothing else.

A process of its own for each piece of work, so that a crash or lack of memory ends that piece alone. The
server touches no GPU and starts no threads: a fork survives neither. What a process is given (its log, its
GPU, its threads) it takes itself, after the fork.
"""

from __future__ import annotations

import fcntl
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from multiprocessing import connection, forkserver
from multiprocessing.process import BaseProcess
from pathlib import Path

from threadpoolctl import threadpool_limits

from graphgps_ext.errors import UserError
from graphgps_ext.signals import ASKING, stoppable

BUSY = os.EX_TEMPFAIL  # the status of a process whose log another one has
ORPHANED = 255  # what multiprocessing tells of a process whose server is gone
GRACE_SECONDS = 20.0


@dataclass
class Worker:
    """A process at work.

    Args:
        process: the process.
        log: where its output goes; None: to that of the server.
        start: when it was started (`time.monotonic`).
    """

    process: BaseProcess
    log: Path | None
    start: float = field(default_factory=time.monotonic)

    @property
    def code(self) -> int | None:
        """Its exit status, below 0 the signal that ended it; None while it runs."""
        return self.process.exitcode

    def reason(self) -> str:
        """Why it failed, in one line."""
        code = self.code
        assert code is not None
        if code == BUSY:
            return 'is running in another process at this moment'
        if code == ORPHANED:
            return 'the server that starts processes has ended, most likely for lack of memory'
        if code == -signal.SIGKILL:
            return 'killed, most likely for lack of memory'
        if code < 0:
            return f'ended by {signal.Signals(-code).name}'
        if self.log is None:
            return f'exit status {code}'
        text = self.log.read_text(encoding='utf-8', errors='replace')
        lines = text[text.rfind(_PROGRAM) :].strip().splitlines()  # of the last attempt
        # Messages of several lines begin with `error:`; of a trace the last line says most.
        told = next((line for line in reversed(lines) if line.startswith('error: ')), lines[-1])
        return told.removeprefix('error: ')[:200]


_PROGRAM = f'{sys.executable} -m graphgps_ext'


def serve(*modules: str) -> None:
    """Starts the server, unless there is one; it imports while the caller goes on.

    Args:
        modules: that the work needs, beside what training does.
    """
    forkserver.set_forkserver_preload(['graphgps_ext.benchmark.warm', *modules])
    interrupt = signal.signal(
        signal.SIGINT, signal.SIG_IGN
    )  # `stop` tells the processes; it may be importing
    variables = dict(os.environ)
    # It has to import what this process would: by itself it begins with the current folder.
    os.environ['PYTHONPATH'] = os.pathsep.join(path or os.getcwd() for path in sys.path)
    os.environ['PYTHONSAFEPATH'] = '1'
    try:
        forkserver.ensure_running()
    finally:
        os.environ.clear()
        os.environ.update(variables)
        signal.signal(signal.SIGINT, interrupt)


def start(
    call: Callable[[], int | None],
    *,
    log: Path | None = None,
    line: str = '',
    environment: Mapping[str, str] | None = None,
    threads: int | None = None,
) -> Worker:
    """Starts a process.

    Args:
        call: what it does; gives its exit status. A function of a module, or a partial of one.
        log: file to which its output is added. It is the lock of this work, which lasts as long as any
            process has it open: a second process ends at once with status `BUSY`.
        line: the command that repeats it by hand, without `python -m graphgps_ext`; goes to the log first.
        environment: variables beside those of this process.
        threads: of the libraries for linear algebra; None: as many as there are cores.

    Raises:
        UserError: if there is no server that could start it.
    """
    serve()
    if log is not None:
        log.parent.mkdir(parents=True, exist_ok=True)
    variables = {**os.environ, **(environment or {})}
    told = ' '.join([*(f'{key}={value}' for key, value in (environment or {}).items()), _PROGRAM, line])
    process = multiprocessing.get_context('forkserver').Process(
        target=_work, args=(call, log, told, variables, Path.cwd(), threads)
    )
    try:
        process.start()
    except (EOFError, ConnectionError) as error:
        raise UserError(
            f'the server that starts processes has ended ({type(error).__name__}): see its message above'
        ) from None
    return Worker(process, log)


def _work(
    call: Callable[[], int | None],
    log: Path | None,
    line: str,
    environment: dict[str, str],
    folder: Path,
    threads: int | None,
) -> None:
    parent = multiprocessing.parent_process()
    if parent is None or not parent.is_alive():
        return  # it was interrupted while the server was still importing
    os.setsid()  # a group of its own: `stop` reaches its workers too, and a terminal's Ctrl-C none of them
    multiprocessing.set_start_method('fork', force=True)  # as of any other process, for loaders
    for number in ASKING:
        signal.signal(number, signal.SIG_DFL)  # the server ignores Ctrl-C, and what it was started with
    threading.Thread(target=_end_after, args=(parent,), daemon=True).start()
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    if log is not None:
        descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            sys.exit(BUSY)
        os.dup2(descriptor, sys.stdout.fileno())
        os.dup2(descriptor, sys.stderr.fileno())
        os.close(descriptor)
        print(f'$ {line}', flush=True)
    if threads is not None:
        threadpool_limits(threads)
    with stoppable():
        sys.exit(call())


def _end_after(parent: BaseProcess) -> None:
    """Ends this process when its parent has ended: one that is killed cannot stop it."""
    parent.join()
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(GRACE_SECONDS)
    os.killpg(os.getpid(), signal.SIGKILL)


def wait(workers: Sequence[Worker], seconds: float | None = None) -> list[Worker]:
    """Those that have ended, as soon as one has, or when the time is up."""
    by_sentinel = {worker.process.sentinel: worker for worker in workers}
    ended = [by_sentinel[ready] for ready in connection.wait(list(by_sentinel), seconds)]  # type: ignore[index]
    for worker in ended:
        if worker.code == ORPHANED:
            _signal(worker, signal.SIGKILL)  # it may be alive; nobody would take note of its end
    return ended


def stop(workers: Sequence[Worker]) -> None:
    """Asks processes to end, and ends those that do not listen by force."""
    for how in (signal.SIGTERM, signal.SIGKILL):
        alive = [worker for worker in workers if worker.code is None]
        for worker in alive:
            _signal(worker, how)
        deadline = time.monotonic() + GRACE_SECONDS
        for worker in alive:
            try:
                worker.process.join(max(0.0, deadline - time.monotonic()))
            except KeyboardInterrupt:  # the user insists
                continue


def _signal(worker: Worker, how: signal.Signals) -> None:
    assert worker.process.pid is not None
    for tell in (os.killpg, os.kill):  # the group, unless the process has not made it yet
        try:
            return tell(worker.process.pid, how)
        except ProcessLookupError:
            continue
