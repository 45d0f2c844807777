"""Losses and metrics by task, under GraphGym's names, computed where the predictions lie without a wait.

torchmetrics has all of them, but its exact curves and its counts by class wait for the device, and a step
that waits cannot be captured in a CUDA graph. The tests compare with torchmetrics and scikit-learn.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import torch
from torch import Tensor
from torch_geometric.data import Data
from torch_geometric.graphgym.config import cfg
from torch_geometric.graphgym.loss import compute_loss

from graphgps_ext.errors import ConfigError, DataError
from graphgps_ext.train.stats import SPLITS

FULL_NAMES = {'train': 'training', 'val': 'validation', 'test': 'test'}


def num_outputs(data: Data) -> int:
    """Number of classes, or of tasks where labels are [N, tasks].

    Raises:
        ValueError: if `dataset.task_type` does not fit the labels.
    """
    needed = 'classification_multilabel' if data.y.dim() == 2 else 'classification'
    if cfg.dataset.task_type != needed:
        raise ConfigError(
            f'dataset.task_type needs to be {needed} for labels of shape {list(data.y.shape)}, '
            f'got {cfg.dataset.task_type}'
        )
    return data.y.shape[1] if data.y.dim() == 2 else int(data.y.max()) + 1


def split_labels(data: Data) -> dict[str, Tensor]:
    """Labels of the nodes of each split: [n], or [n, tasks]."""
    return {split: data.y[data[f'{split}_mask']] for split in SPLITS}


def metric_names(dim_out: int) -> tuple[str, ...]:
    """All metrics of `dataset.task_type` with `dim_out` classes or tasks."""
    if cfg.dataset.task_type == 'classification_multilabel':
        return ('accuracy', 'auc')
    return ('accuracy', 'auc', 'f1', 'precision', 'recall') if dim_out <= 2 else ('accuracy', 'f1')


def existing_metrics(dim_out: int, true: Tensor) -> tuple[str, ...]:
    """The names of those metrics of the task that there are for a split with these labels.

    A curve needs nodes of both classes, precision, recall and F1 of two classes need one of class 1: without,
    there is no number that would say something of the model.

    Args:
        dim_out: number of classes, or of tasks where a node has several labels.
        true: [n] int64, or [n, tasks] float with NaN = no label: of all nodes of the split.
    """
    lacking: set[str] = set()
    if true.dim() == 2 or dim_out <= 2:
        lacking |= set() if have_both_classes(true).any() else {'auc'}
    if true.dim() == 1 and dim_out <= 2:
        lacking |= set() if (true == 1).any() else {'precision', 'recall', 'f1'}
    return tuple(name for name in metric_names(dim_out) if name not in lacking)


def compute_metrics(names: Collection[str], probability: Tensor, true: Tensor) -> dict[str, Tensor]:
    """Metrics of predictions, each [] float64 on their device; nothing waits for it.

    Args:
        names: of :func:`existing_metrics`.
        probability: [n] of class 1, [n, classes], or [n, tasks]; of :func:`loss_and_probability`.
        true: [n] int64, or [n, tasks] float with NaN = no label.
    """
    if true.dim() == 2:
        known = ~true.isnan()
        right = ((probability > 0.5) == (true > 0.5)) & known
        values = {'accuracy': right.sum().double() / known.sum()}
        if 'auc' in names:
            values['auc'] = area_under_roc(probability.T, true.T).nanmean()
    elif probability.dim() == 2:
        values = _of_classes(probability, true)
    else:
        values = _of_two_classes(probability, true)
        if 'auc' in names:
            values['auc'] = area_under_roc(probability, true)
    return {name: values[name] for name in names}


def _of_two_classes(probability: Tensor, true: Tensor) -> dict[str, Tensor]:
    positive, actual = probability > 0.5, true == 1
    found = (positive & actual).sum().double()
    return {
        'accuracy': (positive == actual).double().mean(),
        'precision': _share(found, positive.sum()),
        'recall': _share(found, actual.sum()),
        'f1': _share(2 * found, positive.sum() + actual.sum()),
    }


def _of_classes(probability: Tensor, true: Tensor) -> dict[str, Tensor]:
    """Accuracy, and the mean F1 over the classes that are predicted or there."""
    chosen, classes = probability.argmax(1), probability.shape[1]
    right = chosen == true
    ends = torch.stack([true, chosen]).flatten()
    counts = true.new_zeros(classes).scatter_add_(0, ends, torch.ones_like(ends))
    found = true.new_zeros(classes).scatter_add_(0, true, right.long())
    present = counts > 0
    f1 = _share(2.0 * found, counts)
    return {'accuracy': right.double().mean(), 'f1': (f1 * present).sum() / present.sum()}


def _share(part: Tensor, whole: Tensor) -> Tensor:
    """part / whole, 0 where the whole is 0."""
    return part.double() / whole.clamp(min=1)


def area_under_roc(score: Tensor, true: Tensor) -> Tensor:
    """The area under the ROC curve: the share of pairs of both classes in the right order, a tie half of one.

    Pairs are counted in integers, so that the result is exact and the same from run to run.

    Args:
        score: [..., n] floating point.
        true: [..., n]; 0, 1, or anything else (such as NaN) for rows that do not count.

    Returns:
        [...] float64, NaN without a row of both classes.
    """
    score, order = score.contiguous().sort(-1)
    true = true.gather(-1, order)
    positive, negative = (true == 1).long(), (true == 0).long()
    below = torch.nn.functional.pad(negative.cumsum(-1), (1, 0))  # negatives among the first rows
    first, end = (torch.searchsorted(score, score, right=right) for right in (False, True))  # of the ties
    pairs = positive * (below.gather(-1, first) + below.gather(-1, end))  # twice their number
    return pairs.sum(-1).double() / (2 * positive.sum(-1) * negative.sum(-1))


def refuse_missing_metric(labels: Mapping[str, Tensor], dim_out: int) -> None:
    """Refuses a metric that the task has not, or that there is not for the nodes that choose or report.

    Args:
        labels: of :func:`split_labels`.
        dim_out: number of classes or tasks.

    Raises:
        ConfigError: if the task has no such metric.
        DataError: if the labels of the validation or test nodes do not admit it, or no training node has one.
    """
    name = best_metric(metric_names(dim_out))
    problems = [
        f'{name} of the {FULL_NAMES[split]} nodes does not exist: {_lack(labels[split])}'
        for split in ('val', 'test')
        if name not in existing_metrics(dim_out, labels[split])
    ]
    if problems:
        raise DataError(
            f'{"; ".join(problems)}. Set metric_best accuracy, or choose another split (dataset.split_mode, '
            f'dataset.split, dataset.split_seed, dataset.split_index)'
        )


def _lack(true: Tensor) -> str:
    if true.dim() == 2:
        return f'none of the {true.shape[1]} tasks has both classes among the labels of its {len(true)} nodes'
    return f'all {len(true)} of them have class {int(true[0])}, and it needs nodes of both classes'


def have_both_classes(true: Tensor) -> Tensor:
    """Whether there are labels 0 and labels 1: [n] to [], [n, tasks] to [tasks]."""
    return (true == 0).any(0) & (true == 1).any(0)


def best_metric(names: Collection[str]) -> str:
    """`metric_best`; auto = auc where there is one, else accuracy.

    Raises:
        ValueError: if the task has no such metric.
    """
    if cfg.metric_best == 'auto':
        return 'auc' if 'auc' in names else 'accuracy'
    if cfg.metric_best not in names:
        raise ConfigError(
            f'metric_best needs one of {", ".join(names)} for this task, got {cfg.metric_best!r}'
        )
    return cfg.metric_best


def loss_and_probability(pred: Tensor, true: Tensor) -> tuple[Tensor, Tensor]:
    """GraphGym's loss of predictions, and their probabilities [n] or [n, ·], in float32 at least.

    GraphGym's score is the log-soft-max of several classes, otherwise the sigmoid. Both may turn an infinite
    prediction into a finite score: it becomes NaN.
    """
    loss, score = compute_loss(pred, true)
    if score.dim() == 2 and cfg.dataset.task_type == 'classification':
        score = score.exp()
    score = score.detach().masked_fill(~pred.isfinite().view_as(score), torch.nan)
    return loss, score if score.dtype == torch.float64 else score.float()
