"""Settings and data under which training or metrics have no number to report."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.random import Generator

from faults.damage import pick
from faults.fault import FRESH, REFUSED, Fault, Faults
from faults.inputs import NODES, STAGES, graph
from faults.world import Place

NAMES = ('optim.', 'graph.npz', 'x', 'y', 'auc', 'metric', 'split', 'loss', 'label', 'epoch')
SORTED = {'dataset.split_mode': 'standard'}


def _words(keys: dict[str, Any]) -> tuple[str, ...]:
    return tuple(str(word) for pair in keys.items() for word in pair)


def _masks(val: np.ndarray | None = None) -> dict[str, np.ndarray]:
    part = np.arange(NODES) // 2 % 3
    masks = {f'{split}_mask': part == number for number, split in enumerate(('train', 'val', 'test'))}
    return masks if val is None else {**masks, 'val_mask': val}


def huge_rate(place: Place, draw: Generator) -> Fault:
    """Learning rates at which training diverges: a number, if the metric is one, or an error."""
    place.lay('nothing run')
    rate = pick(draw, ['1e30', '1e38', '1e20', '1e10', '1e5', '300.0'])
    keys = {'optim.base_lr': rate, 'optim.num_warmup_epochs': 0}
    keys |= pick(draw, [{}, {'optim.optimizer': 'sgd'}, {'optim.clip_grad_norm': False}])
    if draw.integers(2):
        arrays = graph(0)
        order = np.argsort(arrays['y'], kind='stable')
        arrays['x'], arrays['y'] = arrays['x'][order], arrays['y'][order]
        np.savez(place.folder / 'graph.npz', **arrays)  # type: ignore[arg-type]
    return Fault(f'{keys}', NAMES, FRESH, STAGES, _words(keys))


def huge_features(place: Place, draw: Generator) -> Fault:
    place.lay('nothing run')
    arrays = graph(0)
    factor = pick(draw, [1e25, 1e30, 1e37, 1e19, 1e-30, 1e-44])
    arrays['x'] = arrays['x'].astype(np.float64) * factor
    if draw.integers(2):
        arrays['x'] = arrays['x'].astype(np.float32)
    np.savez(place.folder / 'graph.npz', **arrays)  # type: ignore[arg-type]
    return Fault(f'features x {factor}', NAMES, FRESH)


def features_beyond_float32(place: Place, draw: Generator) -> Fault:
    place.lay('nothing run')
    arrays: dict[str, Any] = graph(0)
    arrays['x'] = arrays['x'].astype(np.float64)
    arrays['x'][int(draw.integers(NODES)), 0] = pick(draw, [1e39, -1e300])
    np.savez(place.folder / 'graph.npz', **arrays)
    return Fault('a feature that float32 cannot hold', NAMES, REFUSED)


def one_class_to_validate(place: Place, draw: Generator) -> Fault:
    """Validation nodes of one class have no AUC to choose an epoch by."""
    place.lay('nothing run')
    arrays = graph(0)
    val = (arrays['y'] == int(draw.integers(2))) & (np.arange(NODES) // 2 % 3 == 1)
    np.savez(place.folder / 'graph.npz', **arrays, **_masks(val))  # type: ignore[arg-type]
    return Fault('validation nodes of one class', NAMES, REFUSED, STAGES, _words(SORTED))


def an_empty_split(place: Place, draw: Generator) -> Fault:
    place.lay('nothing run')
    arrays = graph(0)
    masks = _masks()
    split = pick(draw, list(masks))
    masks[split] = np.zeros(NODES, bool)
    np.savez(place.folder / 'graph.npz', **arrays, **masks)  # type: ignore[arg-type]
    return Fault(f'{split} is empty', (*NAMES, split), REFUSED, STAGES, _words(SORTED))


def tasks_without_labels(place: Place, draw: Generator) -> Fault:
    """Binary tasks of which one has no labels, or one class, in a part: the mean is over the others."""
    place.lay('nothing run')
    arrays: dict[str, Any] = graph(0)
    masks = _masks()
    y = np.stack([arrays['y'], np.arange(NODES) % 2, np.arange(NODES) // 2 % 2], 1).astype(float)
    way = pick(draw, ['no labels', 'no positives', 'no negatives'])
    value = {'no labels': np.nan, 'no positives': 0.0, 'no negatives': 1.0}[way]
    splits = pick(draw, [[split] for split in masks] + [list(masks), ['val_mask', 'test_mask']])
    tasks = pick(draw, [[2], [1, 2]])
    for split in splits:
        y[np.ix_(masks[split], tasks)] = value
    np.savez(place.folder / 'graph.npz', **{**arrays, 'y': y, **masks})
    keys = {**SORTED, 'dataset.task_type': 'classification_multilabel'}
    return Fault(f'tasks {tasks} have {way} in {splits}', (*NAMES, 'task'), FRESH, STAGES, _words(keys))


def no_task_to_validate(place: Place, draw: Generator) -> Fault:
    """No task has both classes among the validation nodes."""
    place.lay('nothing run')
    arrays: dict[str, Any] = graph(0)
    masks = _masks()
    y = np.stack([arrays['y'], 1 - arrays['y']], 1).astype(float)
    y[masks['val_mask']] = pick(draw, [np.nan, 0.0, 1.0])
    np.savez(place.folder / 'graph.npz', **{**arrays, 'y': y, **masks})
    keys = {**SORTED, 'dataset.task_type': 'classification_multilabel'}
    return Fault('no task to validate', (*NAMES, 'task'), REFUSED, STAGES, _words(keys))


def classes_missing_in_training(place: Place, draw: Generator) -> Fault:
    place.lay('nothing run')
    arrays: dict[str, Any] = graph(0)
    masks = _masks()
    arrays['y'] = np.where(masks[pick(draw, list(masks))], 2, arrays['y'])
    np.savez(place.folder / 'graph.npz', **arrays, **masks)  # type: ignore[arg-type]
    return Fault('one class in one part alone', NAMES, FRESH, STAGES, _words(SORTED))


def precision(place: Place, draw: Generator) -> Fault:
    """Each precision that is documented trains, or is refused by its name."""
    place.lay('nothing run')
    keys = {
        'train.precision': pick(draw, ['64-true', 'bf16-mixed', '16-mixed', '32-true', 'bf16-true', '64'])
    }
    keys |= pick(draw, [{}, {'train.sampler': 'spex_neighbor', 'val.sampler': 'spex_neighbor'}])
    stages = STAGES if len(keys) == 1 else STAGES[:1]
    return Fault(f'{keys}', ('train.precision', 'precision', 'train.sampler'), FRESH, stages, _words(keys))


FAULTS: Faults = {
    'huge rate': huge_rate,
    'huge features': huge_features,
    'features beyond float32': features_beyond_float32,
    'one class to validate': one_class_to_validate,
    'an empty split': an_empty_split,
    'tasks without labels': tasks_without_labels,
    'no task to validate': no_task_to_validate,
    'classes missing in training': classes_missing_in_training,
    'precision': precision,
}
