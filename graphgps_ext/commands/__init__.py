"""The commands: arguments and messages, nothing else.

graphgps-ext train|benchmark|tune|analyze ...     as run/main.py, run/benchmark.py, run/tune.py, ...
"""

from __future__ import annotations

import argparse
import errno
import importlib
import sys
import warnings
from collections.abc import Callable, Sequence

from graphgps_ext import __version__
from graphgps_ext.errors import UserError

COMMANDS = {
    'train': 'trains the models of one config',
    'benchmark': 'runs many configs, each with several seeds or splits, and prints one table',
    'tune': 'searches settings by the validation metric',
    'analyze': 'reports what the attention looks at',
}
# What the operating system refuses and a user can mend: a full disk, a file that may not be read or written.
_MENDABLE = {errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS}


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
    """What `work` gives. A mistake of the user ends it with a message, any other error with its trace."""
    warnings.filterwarnings('ignore', category=FutureWarning)
    try:
        return work()
    except UserError as error:
        sys.exit(f'error: {error}')
    except OSError as error:
        if error.errno not in _MENDABLE:
            raise
        sys.exit(f'error: {error}')
    except KeyboardInterrupt:
        print('interrupted: the same command goes on where it stopped', file=sys.stderr)
        sys.exit(130)
