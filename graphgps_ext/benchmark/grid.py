"""GraphGym's grid files: which keys of a config take which values.

# key alias values; an empty line starts another grid, and all grids are united
gt.layers layers [2,4]
optim.base_lr lr [0.01,0.001]
"""

from __future__ import annotations

import itertools
import math
import os
import string
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from graphgps_ext.config.key import Limits, shown
from graphgps_ext.config.load import parse_literal
from graphgps_ext.config.tree import read_small_text
from graphgps_ext.errors import ConfigError

FORMAT = 'key alias [value,value,...], with no spaces but between the three'
LARGEST_GRID = 10_000
LONGEST_LABEL = 150  # a part of a name of a folder, which may have 255 bytes
ALIAS_SIGNS = {*string.ascii_letters, *string.digits, *'_+.-'}


@dataclass(frozen=True)
class Setting:
    """One key with one of its values, and the short name that it has in names of runs."""

    key: str
    alias: str
    value: Any

    def __str__(self) -> str:
        return f'{self.alias}={str(self.value).strip("[]").replace(" ", "").replace("/", "_")}'


def read_grid(path: Path) -> list[tuple[Setting, ...]]:
    """All combinations of a grid file, the last line varying fastest.

    Raises:
        ConfigError: if there is no such file, or naming each line that is broken.
    """
    if not os.path.isfile(path):
        raise ConfigError(f'there is no grid file {path} (--grid)')
    grids: list[list[list[Setting]]] = [[]]  # of each grid the choices for each of its keys
    problems = []
    for number, line in enumerate(read_small_text(path).splitlines(), start=1):
        text = line.strip()
        if not text:
            grids.append([])
        elif not text.startswith('#'):
            try:
                grids[-1].append(_choices(text))
            except ConfigError as error:
                problems.append(f'  line {number}: {text}\n    {error}')
    if problems:
        raise ConfigError(f'{path} has broken lines; each needs {FORMAT}:\n' + '\n'.join(problems))
    if (count := sum(math.prod(map(len, grid)) for grid in grids if grid)) > LARGEST_GRID:
        raise ConfigError(f'{path} needs at most {LARGEST_GRID} combinations of values, got {shown(count)}')
    combinations = [combination for grid in grids if grid for combination in itertools.product(*grid)]
    if not combinations:
        raise ConfigError(f'{path} has no line of values; each needs {FORMAT}')
    for combination in combinations:
        keys = sorted(setting.key for setting in combination)
        if len({*keys}) < len(keys):
            raise ConfigError(f'{path} sets a key twice in one grid: {", ".join(keys)}')
        if len(label(combination).encode()) > LONGEST_LABEL:
            raise ConfigError(
                f'{path} makes names that are too long for folders: use shorter aliases, fewer keys'
            )
    name, count = Counter(map(label, combinations)).most_common(1)[0]
    if count > 1:
        raise ConfigError(
            f'{path} makes {name} twice: no value may be repeated, and keys need different aliases'
        )
    return combinations


def _choices(line: str) -> list[Setting]:
    parts = line.split()
    if len(parts) != 3:
        raise ConfigError(f'it needs 3 parts, got {len(parts)}')
    key, alias, listed = parts
    if {*alias} - ALIAS_SIGNS:
        raise ConfigError(f'the alias becomes a part of names of folders: letters and digits, got {alias}')
    values = parse_literal(listed)
    if isinstance(values, str):
        raise ConfigError(f'the values need to be a list of numbers or quoted texts, got {listed[:100]}')
    if not isinstance(values, list) or not values:
        raise ConfigError(f'the values need to be a list with at least one value, got {listed[:100]}')
    for value in values:
        if type(value) not in (str, bool, int, float, list):
            raise ConfigError(f'the values need to be numbers, texts or lists, got {shown(value)}')
        if problem := Limits().problem(key, value):
            raise ConfigError(problem)
    return [Setting(key, alias, value) for value in values]


def label(settings: tuple[Setting, ...]) -> str:
    """What a combination adds to the name of a config, as GraphGym writes it: `layers=4-lr=0.01`."""
    return '-'.join(map(str, settings))
