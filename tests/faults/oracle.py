"""What has become of a fault: the right result or a clear error, or something that must not be."""

from __future__ import annotations

import ast
import io
import json
import math
import re
import shutil
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import runs
import yaml

from faults.damage import SENTINEL
from graphgps_ext.config.tree import flatten
from graphgps_ext.train.results import PLACE_KEYS

# Good ends, then bad ones.
EQUAL, ERROR = 'equal', 'clear error'
UNCLEAR, WRONG, TRACE, HANG, CODE = 'unclear error', 'WRONG NUMBER', 'TRACE', 'HANG', 'CODE'
ADVICE, LEFT = 'wrong advice', 'left over'
GOOD, BAD = (EQUAL, ERROR), (WRONG, TRACE, HANG, CODE, UNCLEAR, ADVICE, LEFT)
ARGPARSE = 2  # its exit code
# A run itself sets some, and a finished run stands whatever is said of where it or its data lie.
VARIED = ('seed', 'dataset.split_index', 'dataset.split_seed', *PLACE_KEYS)


@dataclass(frozen=True)
class Ended:
    """How a command has ended.

    Args:
        code: its exit status; None if it has left a trace.
        said: its message, or the trace.
    """

    code: int | None
    said: str = ''


@dataclass(frozen=True)
class Outcome:
    """What has become of a fault.

    Args:
        kind: of `GOOD` or `BAD`.
        said: the message, the trace, or what differs.
    """

    kind: str
    said: str = ''


def watched(command: Callable[[], int | None]) -> Ended:
    """Calls a command in this process as if it were alone, and tells how it ends."""
    output = io.StringIO()
    try:
        with runs.as_if_alone(), redirect_stdout(output), redirect_stderr(output):
            code = command()
    except SystemExit as stop:
        if isinstance(stop.code, str):
            return Ended(1, stop.code)
        return Ended(stop.code or 0, output.getvalue())
    except BaseException:
        return Ended(None, traceback.format_exc())
    return Ended(code or 0, output.getvalue())


def error(ended: Ended, names: Sequence[str]) -> Outcome:
    """The outcome of a command that has not succeeded.

    Args:
        ended: how it has ended.
        names: of which the message has to hold one.
    """
    assert ended.code != 0
    if ended.code is None or 'Traceback (most recent call last)' in ended.said:
        return Outcome(TRACE, ended.said)
    begins = ended.said.startswith('error: ') or (ended.code == ARGPARSE and 'error: ' in ended.said)
    if ended.code not in (1, ARGPARSE) or not begins:
        return Outcome(UNCLEAR, f'status {ended.code}: {ended.said}')
    if not any(_is_in(name, ended.said) for name in names):
        return Outcome(UNCLEAR, f'names none of {", ".join(names)}: {ended.said}')
    return Outcome(ERROR, ended.said)


def _is_in(name: str, said: str) -> bool:
    """Whether a message has a name as a word, also in the plural: `x` is not named by `expected`."""
    before, after = (r'(?<![A-Za-z0-9])' if name[0].isalnum() else '', 's?(?![A-Za-z0-9])')
    return bool(re.search(before + re.escape(name) + (after if name[-1].isalnum() else ''), said))


def of_process(code: int | None, output: str, folder: Path) -> Outcome | None:
    """The outcome of a process that could not judge itself; None if it could.

    Args:
        code: its exit status, None if its time was up.
        output: what it printed.
        folder: its current folder.
    """
    if list(folder.rglob(SENTINEL)):
        return Outcome(CODE, 'code from a file was run')
    if code is None:
        return Outcome(HANG, output[-2000:])
    if code < 0 or code > 0:
        return Outcome(TRACE, f'the process has ended with {code}: {output[-2000:]}')
    return None


def runs_in(results: Path, config: str) -> list[str]:
    """The runs of a config that have a summary."""
    return sorted(path.parent.name for path in (results / config).glob('*/summary.json'))


def found_in(results: Path, chosen: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """All that runs have found, with their aggregates, less times, memory and paths.

    Args:
        results: `out_dir`.
        chosen: the runs of each config.
    """
    found: dict[str, Any] = {}
    for config, names in chosen.items():
        for run in names:
            of_run = runs.result(results / config / run)
            of_run['summary'].pop('git_revision', None)  # somebody may commit while a campaign runs
            found |= {f'{config}/{run}: {key}': value for key, value in of_run.items()}
        for split in runs.SPLITS:
            best = json.loads((results / config / 'agg' / split / 'best.json').read_text())
            found[f'{config}: agg {split}'] = runs.repeatable(best)
    return found


def difference(right: Path, results: Path, configs: Sequence[str], *, alone: bool) -> str:
    """Where results differ from the right ones; empty if nowhere.

    Args:
        right: `out_dir` of the right results.
        results: `out_dir` of those in question.
        configs: whose runs are compared.
        alone: whether the aggregate is over these runs alone, whatever else lies beside them.
    """
    chosen = {config: runs_in(right, config) for config in configs}
    if empty := [config for config, names in chosen.items() if not names]:
        return f'{", ".join(empty)} has no result'
    wanted = found_in(right, chosen)
    try:
        found = found_in(results, chosen)
    except Exception as problem:
        return f'the results cannot be read: {type(problem).__name__}: {problem}'
    if strange := not_finite(found):
        return f'{strange} is no number'
    beside = [config for config, names in chosen.items() if runs_in(results, config) != names and not alone]
    parts = [
        key
        for key in wanted
        if wanted.get(key) != found.get(key) and not key.startswith(tuple(f'{c}: agg' for c in beside))
    ]
    return '; '.join(_where(key, wanted.get(key), found.get(key)) for key in parts)[:1000]


def not_as_given(results: Path, configs: Sequence[str], keys: Sequence[str]) -> str:
    """Which key has another value in the config that a run has stored than on the command line."""
    for config in configs:
        for run in runs_in(results, config):
            if not (results / config / run / 'config.yaml').is_file():
                continue  # left beside the runs by a fault
            stored = dict(flatten(yaml.safe_load((results / config / run / 'config.yaml').read_text())))
            for key, text in zip(keys[::2], keys[1::2], strict=True):
                try:
                    given = ast.literal_eval(text)
                except (ValueError, SyntaxError):
                    given = text
                given = list(given) if isinstance(given, tuple) else given
                if key not in VARIED and stored.get(key) != given and stored.get(key) != text:
                    return f'{key} {stored.get(key)!r} was used, {text!r} was given'
    return ''


def _where(name: str, wanted: Any, found: Any) -> str:
    if isinstance(wanted, dict) and isinstance(found, dict):
        keys = [key for key in {**wanted, **found} if wanted.get(key) != found.get(key)]
        return f'{name}: ' + ', '.join(f'{k} {found.get(k)!r} for {wanted.get(k)!r}' for k in keys[:3])
    if isinstance(wanted, list) and isinstance(found, list) and len(wanted) != len(found):
        return f'{name}: {len(found)} epochs for {len(wanted)}'
    return f'{name} differs'


def not_finite(found: Any, name: str = '') -> str:
    """The name of a number among results that is NaN or infinite; empty if there is none."""
    if isinstance(found, float):
        return '' if math.isfinite(found) else name
    parts = found.items() if isinstance(found, dict) else enumerate(found) if isinstance(found, list) else ()
    return next((told for key, part in parts if (told := not_finite(part, f'{name} {key}'))), '')


# --- what an error says is to be done ---


@dataclass(frozen=True)
class Advice:
    """What a message asks for.

    Args:
        deletes: files and folders.
        stage_1: to run stage 1 again.
        overwrite: to set `train.overwrite True`.
    """

    deletes: tuple[Path, ...]
    stage_1: bool
    overwrite: bool

    def __bool__(self) -> bool:
        return bool(self.deletes or self.stage_1 or self.overwrite)


def advice(message: str) -> Advice:
    """What a message asks for, as far as it can be followed without thinking."""
    named = re.findall(r'(?:[Dd]elete|[Rr]emove) ((?:\./|/)?[\w./-]+)', message)
    deletes = tuple(path for name in named if (path := Path(name.rstrip('.,:;'))).exists())
    return Advice(
        deletes,
        stage_1=bool(re.search(r'[Rr]un stage 1', message)),
        overwrite=not deletes and 'train.overwrite True' in message,
    )


def delete(advised: Advice) -> None:
    """Deletes what is to be deleted."""
    for path in advised.deletes:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
