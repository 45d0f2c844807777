"""The commands: arguments and messages, nothing else.

graphgps-ext train|benchmark|tune|analyze|cache ...     as run/main.py, run/benchmark.py, run/tune.py, ...
"""

from __future__ import annotations

import argparse
import importlib
import io
import logging
import os
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Sequence
from unittest.mock import patch

from graphgps_ext import __version__
from graphgps_ext.commands.refused import explained
from graphgps_ext.signals import Stopped, stoppable

COMMANDS = {
    'train': 'trains the models of one config',
    'benchmark': 'runs many configs, each with several seeds or splits, and prints one table',
    'tune': 'searches settings by the validation metric',
    'analyze': 'reports what the attention looks at',
    'cache': 'lists or deletes the attention graphs kept on this machine',
}


def main(argv: Sequence[str] | None = None) -> int | None:
    """Calls the command that the first argument names, and gives its exit status."""
    listed = '\n'.join(f'  {name:10} {does}' for name, does in COMMANDS.items())
    parser = argparse.ArgumentParser(
        prog='graphgps-ext',
        description='Spexphormer for GraphGym: two-stage training of sparse graph transformers.',
        epilog=f'commands:\n{listed}\n\ngraphgps-ext COMMAND --help tells what each takes.',
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('--version', action='version', version=__version__)
    parser.add_argument('command', choices=COMMANDS, metavar='COMMAND')
    parser.add_argument('arguments', nargs=argparse.REMAINDER, metavar='...')
    args = parser.parse_args(argv)
    return guarded(lambda: importlib.import_module(f'{__name__}.{args.command}').main(args.arguments))


def guarded(work: Callable[[], int | None]) -> int | None:
    """What `work` gives. A mistake of the user ends it with a message, any other error with its trace.

    So does a signal that asks it to end, with the status by which a scheduler knows that it was not done.
    """
    warnings.filterwarnings('ignore', category=FutureWarning)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors='replace')  # signs that the terminal does not know, such as ±
    with (
        stoppable() as signals,
        patch.object(logging.Handler, 'handleError', _not_logged),
        patch.object(threading, 'excepthook', _of_thread),
    ):
        try:
            return work()
        except BrokenPipeError:  # what read the output, such as `head`, has ended
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python will flush it
            sys.exit(128 + signal.SIGPIPE)
        except KeyboardInterrupt as error:
            stopped = error if isinstance(error, Stopped) else Stopped()
        except Exception as error:
            if not signals:
                if (told := explained(error)) is None:
                    raise
                sys.exit(f'error: {told}')
            stopped = Stopped(signals[-1])
        print(stopped, file=sys.stderr)
        sys.exit(stopped.status)


def _of_thread(failed: threading.ExceptHookArgs) -> None:
    """A thread that could not write, such as TensorBoard's: who has started it raises the error again."""
    if not isinstance(failed.exc_value, Exception) or explained(failed.exc_value) is None:
        threading.__excepthook__(failed)


def _not_logged(handler: logging.Handler, record: logging.LogRecord) -> None:
    """What cannot be logged ends the command as anything that cannot be written; `logging` prints a trace."""
    error, stream = sys.exc_info()[1], getattr(handler, 'stream', None)
    if isinstance(error, UnicodeEncodeError) and isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(errors='replace')
        return handler.emit(record)
    if isinstance(error, OSError) and isinstance(handler, logging.FileHandler):
        error.filename = error.filename or handler.baseFilename
    raise
