"""The space of a search: which keys of a config take which values (see graphgps_ext/commands/tune.py)."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import optuna

from graphgps_ext.config.key import Limits, shown
from graphgps_ext.config.tree import read_yaml
from graphgps_ext.errors import ConfigError

Settings = dict[str, Any]


@dataclass(frozen=True)
class Dimension:
    """One thing that is chosen.

    Args:
        name: as in the file, and in the study.
        keys: the keys that it sets.
        choices: how a study stores a choice → keys and values that it stands for; empty for a range. Stored
            is JSON: Optuna keeps no lists and mappings, and takes 1 and True for one value.
        low, high: the ends of a range, both included; whole numbers or floats.
        log: choose evenly in the logarithm.
    """

    name: str
    keys: tuple[str, ...]
    choices: Mapping[str, Settings] = field(default_factory=dict)
    low: float = 0
    high: float = 0
    log: bool = False

    def suggest(self, trial: optuna.Trial) -> Any:
        """What a study stores for a trial."""
        if self.choices:
            return trial.suggest_categorical(self.name, list(self.choices))
        whole = isinstance(self.low, int) and isinstance(self.high, int)
        number = trial.suggest_int if whole else trial.suggest_float
        return number(self.name, self.low, self.high, log=self.log)  # type: ignore[arg-type]

    def settings(self, stored: Any) -> Settings:
        """Keys and values for what a study stores."""
        return self.choices[stored] if self.choices else dict.fromkeys(self.keys, stored)

    def stored(self, current: Settings) -> Any | None:
        """How a study stores the value that these keys have now; None if the space does not hold it."""
        if self.choices:
            held = (text for text, settings in self.choices.items() if settings.items() <= current.items())
            return next(held, None)
        value = current.get(self.keys[0])
        return value if value is not None and self.low <= value <= self.high else None


@dataclass(frozen=True)
class Space:
    """The dimensions of a search."""

    dimensions: tuple[Dimension, ...]

    def suggest(self, trial: optuna.Trial) -> Settings:
        """Settings for a trial."""
        return self.settings({dimension.name: dimension.suggest(trial) for dimension in self.dimensions})

    def settings(self, params: Mapping[str, Any]) -> Settings:
        """The settings of a trial of the study."""
        found: Settings = {}
        for dimension in self.dimensions:
            found |= dimension.settings(params[dimension.name])
        return found

    def stored(self, current: Settings) -> dict[str, Any]:
        """The study's parameters for the values that a config has now, as far as the space holds them."""
        found = {dimension.name: dimension.stored(current) for dimension in self.dimensions}
        return {name: value for name, value in found.items() if value is not None}


def read_space(path: Path, known: Collection[str]) -> Space:
    """Reads a space file, a YAML mapping. An entry is one of

        gt.layers: [4, 8, 12]                                    choices
        gt.dropout: {low: 0.0, high: 0.6}                        a range, both ends included
        optim.base_lr: {low: 1.0e-4, high: 1.0e-2, log: True}    chosen evenly in the logarithm
        gt.dim_hidden, gnn.dim_inner: [32, 64]                   keys that take the same value
        norm:                                                    any name: each choice sets its own keys
          - {gt.batch_norm: True, gt.layer_norm: False}
          - {gt.batch_norm: False, gt.layer_norm: True}

    Args:
        path: of the file.
        known: all config keys.

    Raises:
        ConfigError: listing every entry that cannot be used.
    """
    tree = read_yaml(path)
    if not tree:
        raise ConfigError(f'{path} needs entries "key: [choices]" or "key: {{low: , high: }}", got {tree!r}')
    dimensions, problems = [], []
    for name, content in tree.items():
        try:
            dimensions.append(_dimension(str(name), content, known))
        except ConfigError as error:
            problems.append(f'{name}: {error}')
    counts = Counter(key for dimension in dimensions for key in dimension.keys)
    problems += [f'{key} stands in several entries' for key in sorted(counts) if counts[key] > 1]
    if problems:
        raise ConfigError(f'{path} cannot be searched:\n' + '\n'.join(f'  - {p}' for p in problems))
    return Space(tuple(dimensions))


def _dimension(name: str, content: Any, known: Collection[str]) -> Dimension:
    keys = tuple(key.strip() for key in name.split(','))
    if len({*keys}) < len(keys):
        raise ConfigError('needs different keys, got one twice')
    bundles = isinstance(content, list) and all(isinstance(choice, dict) for choice in content)
    if bundles:
        keys = tuple(dict.fromkeys(key for choice in content for key in choice))
        if content and not keys:
            raise ConfigError(f'needs choices, and keys in them, got {shown(content)}')
    if unknown := sorted(key for key in keys if key not in known):
        raise ConfigError(f'{", ".join(unknown)} is not a config key')
    if isinstance(content, list) and content:
        settings = content if bundles else [dict.fromkeys(keys, value) for value in content]
        for key, value in (pair for choice in settings for pair in choice.items()):
            if type(value) not in (str, bool, int, float, list):
                raise ConfigError(f'{key} needs numbers, texts or lists as choices, got {shown(value)}')
            if problem := Limits().problem(key, value):
                raise ConfigError(problem)
        choices = dict(zip(map(json.dumps, content), settings, strict=True))
        if len(choices) < len(content):
            raise ConfigError(f'needs different choices, got {shown(content)}')
        return Dimension(name, keys, choices)
    if not isinstance(content, dict) or not {'low', 'high'} <= {*content} <= {'low', 'high', 'log'}:
        raise ConfigError(f'needs [choices] or {{low: , high: , log: }}, got {shown(content)}')
    low, high, log = content['low'], content['high'], content.get('log', False)
    if type(log) is not bool:
        raise ConfigError(f'needs True or False as log, got {shown(log)}')
    if any(type(end) not in (int, float) for end in (low, high)):
        raise ConfigError(
            f'needs numbers as low and high, got {shown(low)} and {shown(high)} (YAML wants 1.0e-3, not 1e-3)'
        )
    if problem := Limits().problem('low', low) or Limits().problem('high', high):
        raise ConfigError(problem)
    if not low < high or (log and low <= 0):
        raise ConfigError(f'needs low below high{", both above 0" if log else ""}, got {low} and {high}')
    return Dimension(name, keys, low=low, high=high, log=log)
