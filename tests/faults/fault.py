"""What a fault is, and what may become of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from numpy.random import Generator

from faults.inputs import STAGES
from faults.world import Place

UNDAMAGED = 'undamaged'  # as if there had been no fault
FRESH = 'fresh'  # as in an empty folder, with the same input
REFUSED = 'refused'  # never a number


@dataclass(frozen=True)
class Fault:
    """A fault that has been made.

    Args:
        told: what was done, in one line.
        names: an error has to hold one of these words.
        expected: which result is right, if there is one; an error is right in any case.
        commands: the configs that are trained afterwards, in this order.
        keys: overrides of these commands: key, value, ...
    """

    told: str
    names: tuple[str, ...]
    expected: str = UNDAMAGED
    commands: tuple[str, ...] = STAGES
    keys: tuple[str, ...] = ()


Make = Callable[[Place, Generator], Fault]
Faults = Mapping[str, Make]
