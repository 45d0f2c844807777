"""A config key: default, meaning, and the values that it may have, in one place."""

from __future__ import annotations

import copy
import reprlib
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from yacs.config import CfgNode

from graphgps_ext.config.tree import get, put

LARGEST_INT = 2**63 - 1  # of torch, numpy and JSON readers
LARGEST_FLOAT = 3.4e38  # of float32, in which networks and optimizers compute
LONGEST_TEXT = 4096  # of a path
PLAIN = (bool, int, float, str)
# Control characters, halves of surrogate pairs (bytes of a command line that are no UTF-8), ends of lines.
UNPRINTABLE = ('Cc', 'Cs', 'Zl', 'Zp')


class _Repr(reprlib.Repr):
    """The representation of a value in a message, cut where it is long."""

    def repr_int(self, value: int, level: int) -> str:
        bits = value.bit_length()
        return repr(value) if bits <= 128 else f'a whole number of {bits} bits'


_repr = _Repr()
_repr.maxlist = _repr.maxtuple = _repr.maxdict = 20
_repr.maxstring = _repr.maxother = 100
shown = _repr.repr


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Which values a key may have. Numbers have to be finite and texts printable, whatever is said here.

    Args:
        choices: all of them; () = any.
        low: the smallest number, or item of a list; None = any.
        high: the largest number; None = any.
        low_open, high_open: refuse that end itself.
        most: the largest number or item that can be meant, far above what anyone uses: a slip of the keyboard
            would otherwise run for ever, or take all memory. None = any that fits 64 bits.
        item: type of the items of a list; None = any plain value.
        different: whether a list may name an item once only.
        folder: a text that names one folder, or is empty.
        path: a text that names a file or folder: `~` is the home folder, `~name` that of a user.
        when: values of other keys with which alone this one is read; it is checked whatever they are.
        hint: advice at the end of the message.
    """

    choices: tuple[str, ...] = ()
    low: float | None = None
    high: float | None = None
    low_open: bool = False
    high_open: bool = False
    most: int | None = None
    item: type | None = None
    different: bool = False
    folder: bool = False
    path: bool = False
    when: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    hint: str = ''

    @property
    def allowed(self) -> str:
        """In words, as 'one of ...', 'at least 1' or 'in [0, 1)'; '' = anything."""
        if self.choices:
            return f'one of {", ".join(self.choices)}'
        if self.item is not None:
            return self._items
        if self.folder:
            return 'the name of a folder, without / or \\ and not beginning with a dot'
        if self.low is None:
            return '' if self.high is None else f'at most {self.high}'
        if self.high is None:
            return f'above {self.low}' if self.low_open else f'at least {self.low}'
        return f'in {"(" if self.low_open else "["}{self.low}, {self.high}{")" if self.high_open else "]"}'

    @property
    def _items(self) -> str:
        kind = 'texts' if self.item is str else 'whole numbers' if self.item is int else 'numbers'
        ends = '' if self.low is None else f' from {self.low} up'
        return f'{"different " if self.different else ""}{kind}{ends}'

    def problem(self, name: str, value: Any) -> str | None:
        """What the key of this name needs and what it got, if that is not allowed."""
        needs = self._needs(value)
        if needs is None:
            return None
        return f'{name} needs {needs}, got {shown(value)}{f" ({self.hint})" if self.hint else ""}'

    def is_read(self, cfg: CfgNode) -> bool:
        """Whether the other keys are such that this one is read (see `when`)."""
        return all(get(cfg, key) in values for key, values in self.when.items())

    def _needs(self, value: Any) -> str | None:
        if self.choices:
            return None if value in self.choices else self.allowed
        if isinstance(value, list | tuple):
            return self._needs_of_list(value)
        if isinstance(value, str):
            return self._needs_of_text(value)
        if type(value) in (int, float):
            return self._needs_of_number(value)
        return None

    def _needs_of_number(self, value: float) -> str | None:
        low, high, most = self.low, self.high, LARGEST_INT if self.most is None else self.most
        above = low is None or (value > low if self.low_open else value >= low)
        below = high is None or (value < high if self.high_open else value <= high)
        if not (above and below):
            verb = {'in': 'to lie ', 'above': 'to be '}.get(self.allowed.partition(' ')[0], '')
            return verb + self.allowed
        if isinstance(value, float) and self.most is None:
            return None if abs(value) <= LARGEST_FLOAT else 'a finite number, also in float32'
        if value > most:
            return f'at most {most}'
        return f'at least {-most - 1}' if value < -most - 1 else None

    def _needs_of_text(self, value: str) -> str | None:
        if len(value) > LONGEST_TEXT or any(unicodedata.category(sign) in UNPRINTABLE for sign in value):
            return f'a text of at most {LONGEST_TEXT} printable signs'
        if self.folder and value and (value != value.strip() or value[0] == '.' or {*value} & {*'/\\'}):
            return self.allowed
        if (self.folder or self.path) and any(len(part.encode()) > 255 for part in value.split('/')):
            return 'a path whose parts have at most 255 bytes each'
        return None

    def _needs_of_list(self, values: list[Any] | tuple[Any, ...]) -> str | None:
        kinds = PLAIN if self.item is None else (int, float) if self.item is float else (self.item,)
        if any(type(value) not in kinds for value in values):
            return self.allowed or 'a list of plain values'
        if any(self.low is not None and value < self.low for value in values):
            return self.allowed
        if self.different and len({*values}) < len(values):
            return self.allowed
        of_item = Limits(most=self.most)
        return next((f'items of {needs}' for v in values if (needs := of_item._needs(v))), None)


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
