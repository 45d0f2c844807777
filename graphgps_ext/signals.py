"""Signals that ask a process to end: they become an exception, so that it leaves everything in order."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

ASKING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# A scheduler tells the process and then its group: within these seconds it is the same request.
SAME_REQUEST_SECONDS = 1.0
_WORDS = {signal.SIGTERM: 'terminated', signal.SIGHUP: 'the terminal was closed'}


class Stopped(KeyboardInterrupt):
    """A signal asked the process to end; no `except Exception` holds it back.

    Args:
        number: of the signal.
    """

    def __init__(self, number: int = signal.SIGINT) -> None:
        super().__init__(number)
        self.number = signal.Signals(number)

    @property
    def status(self) -> int:
        """The exit status of a process that the signal has ended, as a shell tells it."""
        return 128 + self.number

    def __str__(self) -> str:
        return f'{_WORDS.get(self.number, "interrupted")}: the same command goes on where it stopped'


@contextmanager
def stoppable() -> Iterator[list[int]]:
    """Within it Ctrl-C, SIGTERM and a closed terminal raise :class:`Stopped`, and again if they come later.

    What was ignored before stays so: `nohup` means it, and so does a shell that starts a job in the
    background of a script. Only the main thread of Python may set this; in another one nothing changes.

    Yields:
        The signals that have come. An error after them may be their doing: they reach other processes, too.
    """
    came: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield came
        return
    last = float('-inf')

    def stop(number: int, *_: Any) -> None:
        nonlocal last
        before, last = last, time.monotonic()
        if last - before > SAME_REQUEST_SECONDS:
            came.append(number)
            raise Stopped(number)

    before = {number: signal.getsignal(number) for number in ASKING}
    for number, handler in before.items():
        if handler is not signal.SIG_IGN:
            signal.signal(number, stop)
    try:
        yield came
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
