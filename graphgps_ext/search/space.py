"""The space of a search: which keys of a config take which values (see graphgps_ext/commands/tune.py)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna

from graphgps_ext.config.tree import read_yaml
from graphgps_ext.errors import ConfigError

Settings = dict[str, Any]


@dataclass(frozen=True)
class Dimension:
    """One thing that is chosen.

    Args:
        name: as in the file, and in the study.
        keys: the keys that take the value; none where each choice names its own.
        choices: the values to choose from; empty for a range.
        low, high: the ends of a range, both included; whole numbers or floats.
        log: choose evenly in the logarithm.
    """

    name: str
    keys: tuple[str, ...]
    choices: tuple[Any, ...] = ()
    low: float = 0
    high: float = 0
    log: bool = False

    def suggest(self, trial: optuna.Trial) -> Any:
        """A value for a trial."""
        if self.choices:
            return self._of(trial.suggest_categorical(self.name, [_text(c) for c in self.choices]))
        whole = isinstance(self.low, int) and isinstance(self.high, int)
        number = trial.suggest_int if whole else trial.suggest_float
        return number(self.name, self.low, self.high, log=self.log)  # type: ignore[arg-type]

    def value(self, stored: Any) -> Any:
        """The value that a study stores as `stored`."""
        return self._of(stored) if self.choices else stored

    def _of(self, text: str) -> Any:
        return next(choice for choice in self.choices if _text(choice) == text)

    def stored(self, current: Mapping[str, Any]) -> Any | None:
        """How a study stores the value that these keys have now; None if the space does not hold it."""
        for choice in self.choices:
            pairs = self.settings(choice)
            if all(key in current and current[key] == value for key, value in pairs.items()):
                return _text(choice)
        if self.choices or any(key not in current for key in self.keys):
            return None
        value = current[self.keys[0]]
        return value if self.low <= value <= self.high else None

    def settings(self, value: Any) -> Settings:
        """Keys and values that `value` stands for."""
        return {key: value for key in self.keys} if self.keys else dict(value)


def _text(choice: Any) -> str:
    """How a study stores a choice: Optuna keeps no lists and mappings, and takes 1 and True for one value."""
    return json.dumps(choice)


@dataclass(frozen=True)
class Space:
    """The dimensions of a search."""

    dimensions: tuple[Dimension, ...]

    def suggest(self, trial: optuna.Trial) -> Settings:
        """Settings for a trial."""
        found: Settings = {}
        for dimension in self.dimensions:
            found |= dimension.settings(dimension.suggest(trial))
        return found

    def settings(self, params: Mapping[str, Any]) -> Settings:
        """The settings of a trial of the study."""
        found: Settings = {}
        for dimension in self.dimensions:
            found |= dimension.settings(dimension.value(params[dimension.name]))
        return found

    def stored(self, current: Mapping[str, Any]) -> dict[str, Any]:
        """The study's parameters for the values that a config has now, as far as the space holds them."""
        found = {dimension.name: dimension.stored(current) for dimension in self.dimensions}
        return {name: value for name, value in found.items() if value is not None}


def read_space(path: Path, known: Mapping[str, Any]) -> Space:
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
    keys = [key for d in dimensions for key in (d.keys or {k for choice in d.choices for k in choice})]
    problems += [f'{key} stands in several entries' for key in sorted({k for k in keys if keys.count(k) > 1})]
    if problems:
        raise ConfigError(f'{path} cannot be searched:\n' + '\n'.join(f'  - {p}' for p in problems))
    return Space(tuple(dimensions))


def _dimension(name: str, content: Any, known: Mapping[str, Any]) -> Dimension:
    keys = tuple(key.strip() for key in name.split(','))
    if isinstance(content, list) and content and all(isinstance(choice, dict) for choice in content):
        _refuse_unknown({key for choice in content for key in choice}, known)
        return Dimension(name, (), choices=tuple(content))
    _refuse_unknown(keys, known)
    if isinstance(content, list) and content:
        if len({_text(choice) for choice in content}) < len(content):
            raise ConfigError(f'needs different choices, got {content}')
        return Dimension(name, keys, choices=tuple(content))
    if not isinstance(content, dict) or not {'low', 'high'} <= {*content} <= {'low', 'high', 'log'}:
        raise ConfigError(f'needs [choices] or {{low: , high: , log: }}, got {content!r}')
    low, high, log = content['low'], content['high'], content.get('log', False)
    if any(type(end) not in (int, float) for end in (low, high)):
        raise ConfigError(
            f'needs numbers as low and high, got {low!r} and {high!r} (YAML wants 1.0e-3, not 1e-3)'
        )
    if not low < high or (log and low <= 0):
        raise ConfigError(f'needs low below high{", both above 0" if log else ""}, got {low} and {high}')
    return Dimension(name, keys, low=low, high=high, log=bool(log))


def _refuse_unknown(keys: Any, known: Mapping[str, Any]) -> None:
    unknown = sorted(key for key in keys if key not in known)
    if unknown:
        raise ConfigError(f'{", ".join(unknown)} is not a config key')
