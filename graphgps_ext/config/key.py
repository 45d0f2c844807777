"""A config key: default, meaning, and the values that it may have, in one place."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from yacs.config import CfgNode

from graphgps_ext.config.tree import put


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Which values a key may have.

    Args:
        choices: all of them; () = any.
        low: the smallest number; None = any.
        high: the largest number; None = any.
        low_open, high_open: refuse that end itself, of a range that has both.
        mode: the only `train.mode` in which the key is read, hence checked; '' = all.
    """

    choices: tuple[str, ...] = ()
    low: float | None = None
    high: float | None = None
    low_open: bool = False
    high_open: bool = False
    mode: str = ''

    @property
    def allowed(self) -> str:
        """In words, as 'one of ...', 'at least 1' or 'in [0, 1)'; '' = anything."""
        if self.choices:
            return f'one of {", ".join(self.choices)}'
        if self.low is None:
            return '' if self.high is None else f'at most {self.high}'
        if self.high is None:
            return f'at least {self.low}'
        return f'in {"(" if self.low_open else "["}{self.low}, {self.high}{")" if self.high_open else "]"}'

    def problem(self, name: str, value: Any) -> str | None:
        """What the key of this name needs and what it got, if that is not allowed."""
        if self.choices:
            return None if value in self.choices else f'{name} needs {self.allowed}, got {value!r}'
        low, high = self.low, self.high
        above = low is None or (value > low if self.low_open else value >= low)
        below = high is None or (value < high if self.high_open else value <= high)
        needs = f'to lie {self.allowed}' if self.allowed.startswith('in ') else self.allowed
        return None if above and below else f'{name} needs {needs}, got {value}'


@dataclass(frozen=True)
class Key(Limits):
    """A key of ours.

    Args:
        default: value in an empty config file; its type is the key's.
        meaning: one or more sentences for the reference.
    """

    default: Any
    meaning: str


@dataclass(frozen=True, eq=False)
class Group:
    """Adds its keys to a config; groups that another plugin (graphgps) has made already are extended."""

    title: str
    keys: Mapping[str, Key]

    def __call__(self, cfg: CfgNode) -> None:
        for name, key in self.keys.items():
            put(cfg, name, copy.copy(key.default))
