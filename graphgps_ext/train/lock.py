"""One process at a time in a run folder."""

from __future__ import annotations

import json
import os
import platform
import shlex
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from graphgps_ext.errors import OtherResultsError

LOCK = '.lock'  # in the run folder; it says who holds it


@contextmanager
def locked(run_dir: Path) -> Iterator[None]:
    """Holds the lock of a run folder, which is made if it is not there. A process that ends gives it back.

    Raises:
        OtherResultsError: if another process holds it; with that process and its command.
    """
    run_dir.mkdir(parents=True, exist_ok=True)
    file = run_dir / LOCK
    lock = FileLock(file, blocking=False, thread_local=False)
    try:
        lock.acquire()
    except Timeout:
        raise _in_use(run_dir) from None
    try:
        holder = {
            'process': os.getpid(),
            'host': platform.node(),
            'since': time.strftime('%Y-%m-%d %H:%M:%S'),
            'command': shlex.join(sys.argv),
        }
        file.write_text(json.dumps(holder), encoding='utf-8')
        yield
    finally:
        file.unlink(missing_ok=True)  # while it is held: who waits for it looks whether it is still the one
        lock.release()


def refuse_if_locked(run_dir: Path) -> None:
    """Looks whether another process is in a run folder, and writes nothing.

    Raises:
        OtherResultsError: if so.
    """
    if (run_dir / LOCK).is_file():
        try:
            with FileLock(run_dir / LOCK, blocking=False, thread_local=False):
                return
        except Timeout:
            raise _in_use(run_dir) from None


def _in_use(run_dir: Path) -> OtherResultsError:
    try:
        holder = json.loads((run_dir / LOCK).read_text(encoding='utf-8'))
        told = (
            f'process {holder["process"]} on {holder["host"]}, since {holder["since"]}: {holder["command"]}'
        )
    except (OSError, ValueError, KeyError, TypeError):  # it has just ended, or is about to write it
        told = 'another process'
    return OtherResultsError(
        f'{run_dir} is in use by {told}. Wait for its end, or set out_dir or train.run_id to another folder'
    )
