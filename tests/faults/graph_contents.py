"""What graph files may hold that cannot be used, or that can and is strange: changes of good arrays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from faults.inputs import NODES

Arrays = dict[str, Any]


def _with(**changes: Callable[[Arrays], Any]) -> Callable[[Arrays], None]:
    def change(arrays: Arrays) -> None:
        arrays.update({key: make(arrays) for key, make in changes.items()})

    return change


def _set(key: str, value: Any) -> Callable[[Arrays], None]:
    def change(arrays: Arrays) -> None:
        flat = arrays[key] = arrays[key].astype(float) if isinstance(value, float) else arrays[key].copy()
        flat.reshape(-1)[3] = value

    return change


def _without(key: str) -> Callable[[Arrays], None]:
    return lambda arrays: arrays.__delitem__(key)


def _masks(**masks: Any) -> Callable[[Arrays], None]:
    def change(arrays: Arrays) -> None:
        part = np.arange(NODES) % 3
        names = ('train_mask', 'val_mask', 'test_mask')
        arrays.update({name: masks.get(name, part == i) for i, name in enumerate(names)})

    return change


UNUSABLE: dict[str, Callable[[Arrays], None]] = {
    'NaN in x': _set('x', float('nan')),
    'infinity in x': _set('x', float('inf')),
    'NaN in edge_index': _set('edge_index', float('nan')),
    'a fraction in edge_index': _set('edge_index', 1.5),
    'a node too high': _set('edge_index', NODES),
    'a node below 0': _set('edge_index', -1),
    'a node far too high': _set('edge_index', 2**62),
    'a fraction in y': _set('y', 0.5),
    'a class below -1': _set('y', -2),
    'a class of 2**62': _set('y', 2**62),
    'a gap in the classes': _set('y', 5),
    'one class': _with(y=lambda a: a['y'] * 0),
    'no labels': _with(y=lambda a: a['y'] * 0 - 1),
    'x of one axis': _with(x=lambda a: a['x'][:, 0]),
    'x of three axes': _with(x=lambda a: a['x'][:, :, None]),
    'x without features': _with(x=lambda a: a['x'][:, :0]),
    'too few rows of x': _with(x=lambda a: a['x'][:-1]),
    'too few labels': _with(y=lambda a: a['y'][:-1]),
    'edge_index of three rows': _with(edge_index=lambda a: np.vstack([a['edge_index'], a['edge_index'][:1]])),
    'edge_index on its side': _with(edge_index=lambda a: a['edge_index'].T),
    'edge_index of one axis': _with(edge_index=lambda a: a['edge_index'].ravel()),
    'a scalar y': _with(y=lambda a: np.int64(1)),
    'three tasks of one-hot labels': _with(y=lambda a: np.eye(3)[a['y']]),
    'tasks of other values': _with(y=lambda a: np.full((NODES, 2), 0.5)),
    'no x': _without('x'),
    'no y': _without('y'),
    'no edge_index': _without('edge_index'),
    'an unknown key': _with(weights=lambda a: a['x']),
    'one mask': _with(train_mask=lambda a: np.arange(NODES) < 40),
    'masks of another length': _masks(val_mask=np.ones(NODES - 1, bool)),
    'masks of fractions': _masks(val_mask=np.full(NODES, 0.5)),
    'no nodes': lambda a: a.update(x=a['x'][:0], y=a['y'][:0], edge_index=a['edge_index'][:, :0]),
}
# What may be used as the documentation says: with a result that is a number.
STRANGE: dict[str, Callable[[Arrays], None]] = {
    'no edges': _with(edge_index=lambda a: a['edge_index'][:, :0]),
    'loops alone': _with(edge_index=lambda a: np.tile(np.arange(NODES), (2, 1))),
    'every edge ten times': _with(edge_index=lambda a: np.tile(a['edge_index'], 10)),
    'constant features': _with(x=lambda a: np.ones_like(a['x'])),
    'zero features': _with(x=lambda a: np.zeros_like(a['x'])),
    'one feature': _with(x=lambda a: a['x'][:, :1]),
    'few nodes': lambda a: a.update(x=a['x'][:4], y=np.arange(4) % 2, edge_index=a['edge_index'] % 4),
    'nodes without labels': _with(y=lambda a: np.where(np.arange(NODES) % 3 == 0, -1, a['y'])),
    'two tasks': _with(y=lambda a: np.stack([a['y'], 1 - a['y']], 1).astype(float)),
    'empty validation mask': _masks(val_mask=np.zeros(NODES, bool)),
    'empty training mask': _masks(train_mask=np.zeros(NODES, bool)),
    'masks that overlap': _masks(test_mask=np.ones(NODES, bool)),
    'many classes': _with(y=lambda a: np.arange(NODES)),
}
