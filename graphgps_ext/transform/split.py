"""Splits of the labelled nodes into training, validation and test nodes.

A split is a pure function of the labels and of `dataset.split_seed` (or `dataset.split_index`), never of the
run's seed: both training stages must see the same one, or the scores leak labels. N is the number of nodes,
S the number of fixed splits that a data set brings.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from graphgps_ext.errors import ConfigError, DataError
from graphgps_ext.transform.seeding import purpose_generator

SPLIT_MODES = ('standard', 'random', 'class-balanced')  # `dataset.split_mode`


@dataclass(frozen=True)
class Split:
    """The training, validation and test nodes; nodes without a label are in none of them.

    Args:
        train: [N] bool, the nodes whose labels are learned from.
        val: [N] bool, the nodes on which the best epoch is chosen.
        test: [N] bool, the nodes on which the result is reported.

    Raises:
        ValueError: if a mask is not [N] bool, is empty, or overlaps another.
    """

    train: Tensor
    val: Tensor
    test: Tensor

    def __post_init__(self) -> None:
        masks = {'train': self.train, 'val': self.val, 'test': self.test}
        for name, mask in masks.items():
            if mask.dtype != torch.bool or mask.shape != (self.train.numel(),):
                raise DataError(
                    f'the {name} mask needs shape [{self.train.numel()}] and dtype bool, '
                    f'got {list(mask.shape)} {mask.dtype}'
                )
        for name, mask in masks.items():
            if not mask.any():
                raise DataError(
                    f'the {name} mask is empty: every part of a split needs a node with a label; '
                    f'change dataset.split (ratios), dataset.split_mode or dataset.split_index'
                )
        for first, second in (('train', 'val'), ('train', 'test'), ('val', 'test')):
            shared = int((masks[first] & masks[second]).sum())
            if shared:
                raise DataError(
                    f'the {first} and {second} masks share {shared} nodes, but no node may be in two parts '
                    f'of a split; correct the masks or set dataset.split_mode to random'
                )


def labeled_nodes(y: Tensor) -> Tensor:
    """[N] bool, the nodes with a label: y ≥ 0 if y is integer, at least one task that is not NaN if float.

    Args:
        y: [N] integer classes (-1 = no label), or [N] or [N, tasks] float (NaN = no label).
    """
    labeled = ~y.isnan() if y.is_floating_point() else y >= 0
    return labeled if labeled.dim() == 1 else labeled.any(dim=1)


def random_split(
    num_nodes: int, ratios: Sequence[float], seed: int, candidates: Tensor | None = None
) -> Split:
    """A uniformly random split: round(ratio · n) training and validation nodes, the rest for the test.

    Args:
        num_nodes: N.
        ratios: shares of training, validation and test nodes; they sum to one.
        seed: `dataset.split_seed`.
        candidates: [N] bool, the n nodes to distribute (those with a label); all by default.

    Raises:
        ValueError: if the ratios are not three positive shares of one, or a part comes out empty.
    """
    if len(ratios) != 3 or min(ratios) <= 0 or abs(sum(ratios) - 1) > 1e-6:
        raise ConfigError(
            f'dataset.split needs three positive ratios (train, val, test) that sum to 1, got {list(ratios)}'
        )
    if candidates is None:
        candidates = torch.ones(num_nodes, dtype=torch.bool)
    order = _shuffled(_ids(candidates, num_nodes), purpose_generator('split', seed))
    num_train = round(ratios[0] * order.numel())
    num_val = round(ratios[1] * order.numel())
    return _split(num_nodes, order[:num_train], order[num_train:][:num_val], order[num_train + num_val :])


def class_balanced_split(y: Tensor, train_ratio: float, seed: int) -> Split:
    """As many training nodes of each class: round(train_ratio · n / C), the rest halved into val and test.

    The split of the published Actor result; n is the number of labelled nodes, C that of classes.
    The validation and test nodes have another class mix than the graph.

    Args:
        y: [N] integer classes from 0; -1 = no label.
        train_ratio: share of the labelled nodes that is trained on, `dataset.split[0]`.
        seed: `dataset.split_seed`.

    Raises:
        ValueError: if y is not [N] integer, or a class has fewer nodes than it must give.
    """
    if y.dim() != 1 or y.is_floating_point():
        raise DataError(
            f'a class-balanced split needs one integer class per node (y [N]), '
            f'got y {list(y.shape)} {y.dtype}; set dataset.split_mode to random'
        )
    if not 0 < train_ratio < 1:
        raise ConfigError(f'dataset.split needs a training ratio between 0 and 1, got {train_ratio}')
    generator = purpose_generator('split', seed)
    order = _shuffled(_ids(y >= 0, y.numel()), generator)
    order = order[torch.argsort(y[order], stable=True)]  # grouped by class, shuffled within each
    class_size = torch.bincount(y[order])
    num_train = round(train_ratio * order.numel() / max(class_size.numel(), 1))
    for c, size in enumerate(class_size.tolist()):
        if size < num_train:
            raise DataError(
                f'class {c} has {size} labelled nodes, but a class-balanced split with ratio {train_ratio} '
                f'needs {num_train} training nodes of each class; lower dataset.split[0] or set '
                f'dataset.split_mode to random'
            )
    start = class_size.cumsum(0) - class_size
    rank = torch.arange(order.numel()) - start[y[order]]
    rest = _shuffled(order[rank >= num_train], generator)
    half = rest.numel() // 2
    return _split(y.numel(), order[rank < num_train], rest[:half], rest[half:])


def num_fixed_splits(*masks: Tensor) -> int:
    """S, the number of fixed splits in these masks: an [N] mask is shared by all columns of [N, S] ones.

    Raises:
        ValueError: if two masks have different numbers of columns.
    """
    columns = {mask.shape[1] for mask in masks if mask.dim() == 2}
    if len(columns) > 1:
        raise DataError(f'train, val and test masks need one number of columns, got {sorted(columns)}')
    return columns.pop() if columns else 1


def fixed_split(
    train_mask: Tensor, val_mask: Tensor, test_mask: Tensor, index: int, labeled: Tensor | None = None
) -> Split:
    """One of the splits that came with the data.

    Args:
        train_mask: [N] or [N, S] bool; so are the other two. WikiCS has 20 columns but one test mask.
        val_mask: see `train_mask`.
        test_mask: see `train_mask`.
        index: `dataset.split_index`, the column.
        labeled: [N] bool, the nodes that have a label; the others are left out. All by default.

    Raises:
        ValueError: if there is no such column, or a mask is empty or overlaps another.
    """
    masks = [train_mask, val_mask, test_mask]
    num_splits = num_fixed_splits(*masks)
    if not 0 <= index < num_splits:
        raise ConfigError(
            f'dataset.split_index must be in 0..{num_splits - 1} (this data set has {num_splits} fixed '
            f'split{"s" if num_splits > 1 else ""}), got {index}'
        )
    columns = [(mask if mask.dim() == 1 else mask[:, index]).bool() for mask in masks]
    if labeled is not None:
        columns = [column & labeled for column in columns]
    return Split(*(column.contiguous() for column in columns))


def _ids(candidates: Tensor, num_nodes: int) -> Tensor:
    if candidates.dtype != torch.bool or candidates.shape != (num_nodes,):
        raise ValueError(
            f'candidates needs shape [{num_nodes}] and dtype bool, '
            f'got {list(candidates.shape)} {candidates.dtype}'
        )
    return candidates.nonzero().flatten().cpu()


def _shuffled(ids: Tensor, generator: torch.Generator) -> Tensor:
    return ids[torch.randperm(ids.numel(), generator=generator)]


def _split(num_nodes: int, *parts: Tensor) -> Split:
    masks = [torch.zeros(num_nodes, dtype=torch.bool).index_fill_(0, part, True) for part in parts]
    return Split(*masks)
