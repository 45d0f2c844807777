"""A finished run as others read it: its config, what went into it and its summary, each checked."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard

from graphgps_ext.config.tree import flatten, read_yaml
from graphgps_ext.errors import DataError, UserError
from graphgps_ext.train.results import (
    CHECKSUMS,
    CONFIG,
    INPUTS,
    SUMMARY,
    check_finished,
    has_ended,
    read_inputs,
    read_summary,
    shared_settings,
    short_hash,
)
from graphgps_ext.train.stats import SPLITS

MARKS = (CONFIG, SUMMARY, CHECKSUMS)  # a folder with one of these is that of a run
OF_ONE_RUN = ('split', 'scores')  # fingerprints in which runs of one mean may differ
TEXTS = ('dataset.name', 'dataset.split_mode', 'train.sampler')
WHOLE = ('seed', 'dataset.split_index', 'dataset.split_seed', 'train.batch_size')
SHOWN = 4  # keys that a message lists
_AGAIN = 'Nothing is taken from this run: delete its folder and run it again.'


@dataclass(frozen=True)
class FinishedRun:
    """What a finished run left.

    Args:
        folder: of the run.
        config: dotted keys and their values.
        inputs: name → fingerprint of what was read.
        summary: metrics (finite numbers, or None where a metric does not exist) and costs.
    """

    folder: Path
    config: dict[str, Any]
    inputs: dict[str, str]
    summary: dict[str, Any]

    @property
    def seed(self) -> int:
        """Its seed."""
        return self.config['seed']

    @property
    def split(self) -> int:
        """Index of its split, or the seed of a random one."""
        fixed = self.config['dataset.split_mode'] == 'standard'
        return self.config['dataset.split_index' if fixed else 'dataset.split_seed']

    @property
    def metric(self) -> str:
        """Name of the metric by which its best epoch was chosen."""
        return self.summary['metric']

    @property
    def shared_inputs(self) -> dict[str, str]:
        """Fingerprints in which runs agree that differ only in seed and split."""
        return {name: value for name, value in self.inputs.items() if name not in OF_ONE_RUN}

    @property
    def inputs_hash(self) -> str:
        """Twelve hexadecimal digits of the :attr:`shared_inputs`."""
        return short_hash(self.shared_inputs)

    @property
    def split_hash(self) -> str:
        """Twelve hexadecimal digits of the nodes of its split and all labels."""
        return short_hash({name: self.inputs.get(name) for name in ('split', 'labels')})


def is_run(folder: Path) -> bool:
    """Whether a folder is that of a run, finished or not."""
    return any(os.path.lexists(folder / name) for name in MARKS)


def is_unfinished(folder: Path) -> bool:
    """Whether a run has not come to its end."""
    return not has_ended(folder)


def read_run(folder: Path) -> FinishedRun:
    """A finished run.

    Raises:
        UserError: naming the file that is missing, damaged or holds what no run writes, and what to do.
    """
    check_finished(folder)
    summary, path = read_summary(folder), folder / 'summary.json'
    if problems := _problems(summary):
        raise DataError(f'{path} is damaged: {"; ".join(problems)}. {_AGAIN}')
    return FinishedRun(folder, _read_config(folder / 'config.yaml'), _read_inputs(folder), summary)


def _problems(summary: dict[str, Any]) -> list[str]:
    """What keeps a summary from being one."""
    metric = summary.get('metric')
    if not isinstance(metric, str):
        return ['metric needs the name of one']
    problems = [
        f'{key} needs a whole number' for key in ('best_epoch', 'epochs') if not _whole(summary.get(key))
    ]
    for split in SPLITS:
        values = summary.get(split)
        if not isinstance(values, dict):
            problems.append(f'{split} needs metrics')
            continue
        wrong = [name for name, value in values.items() if value is not None and not finite(value)]
        problems += [f'{split} {name} is no finite number' for name in wrong]
        if split != 'train' and values.get(metric) is None:
            problems.append(f'{split} has no {metric}')
    return problems


def _read_config(path: Path) -> dict[str, Any]:
    try:
        if not path.is_file():
            raise DataError('it is missing, or no file')
        flat = dict(flatten(read_yaml(path)))
        wrong = [key for key in TEXTS if not isinstance(flat.get(key), str)]
        if wrong := [*wrong, *(key for key in WHOLE if not _whole(flat.get(key)))]:
            raise DataError(f'{", ".join(wrong)} missing, or of another type')
        short_hash(shared_settings(flat))  # only what JSON knows has a hash
    except (OSError, ValueError, TypeError, OverflowError, RecursionError) as error:
        reason = ' '.join(str(error).split()) or type(error).__name__
        raise DataError(f'{path} is damaged: {reason}. {_AGAIN}') from None
    return flat


def _read_inputs(folder: Path) -> dict[str, str]:
    inputs = read_inputs(folder)
    if not inputs or not all(isinstance(value, str) for value in inputs.values()):
        raise DataError(f'{folder / INPUTS} is damaged: it needs fingerprints. {_AGAIN}')
    return inputs


def finite(value: Any) -> TypeGuard[float]:
    """Whether something is a number that a table can hold."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # a whole number beyond all floats
        return False


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**63


def differences(there: FinishedRun, here: FinishedRun) -> str:
    """In what two runs differ beside seed and split; empty if in nothing."""
    one, other = ({**shared_settings(run.config), 'metric': run.metric} for run in (there, here))
    keys = sorted(key for key in {*one, *other} if one.get(key) != other.get(key))
    told = [f'{key} {one.get(key)!r} there, {other.get(key)!r} here' for key in keys[:SHOWN]]
    if len(keys) > SHOWN:
        told.append(f'and {len(keys) - SHOWN} more keys')
    first, second = there.shared_inputs, here.shared_inputs
    if names := sorted(name for name in {*first, *second} if first.get(name) != second.get(name)):
        told.append(f'other {", ".join(names).replace("_", " ")}')
    return '; '.join(told)


def why_not(error: UserError | OSError) -> str:
    """The message of an error in one line."""
    return ' '.join(str(error).split())
