"""Metrics by task, from torchmetrics, under GraphGym's names."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import torch
from torch import Tensor
from torch_geometric.data import Data
from torch_geometric.graphgym.config import cfg
from torch_geometric.graphgym.loss import compute_loss
from torchmetrics import Metric, MetricCollection
from torchmetrics.classification import (
    BinaryAccuracy,
    BinaryAUROC,
    BinaryF1Score,
    BinaryPrecision,
    BinaryRecall,
    MulticlassAccuracy,
    MulticlassF1Score,
    MultilabelAccuracy,
    MultilabelAUROC,
)
from torchmetrics.functional.classification import multilabel_auroc
from torchmetrics.utilities import dim_zero_cat

from graphgps_ext.errors import ConfigError, DataError
from graphgps_ext.train.stats import SPLITS

FULL_NAMES = {'train': 'training', 'val': 'validation', 'test': 'test'}
NO_LABEL = -1


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


def build_metrics(dim_out: int, true: Tensor) -> MetricCollection:
    """Those metrics of the task that there are for a split with these labels.

    A curve needs nodes of both classes, precision, recall and F1 of two classes need one of class 1: without,
    torchmetrics would give 0 or 1, which are no numbers of the model.

    Args:
        dim_out: number of classes, or of tasks where a node has several labels.
        true: [n] int64, or [n, tasks] float with NaN = no label: of all nodes of the split.
    """
    metrics: dict[str, Metric]
    if cfg.dataset.task_type == 'classification_multilabel':
        metrics = {'accuracy': MultilabelAccuracy(dim_out, average='micro', ignore_index=NO_LABEL)}
        if have_both_classes(true).any():
            metrics['auc'] = MeanAUROC(dim_out, average='none', ignore_index=NO_LABEL)
    elif dim_out <= 2:
        metrics = {'accuracy': BinaryAccuracy()}
        if (true == 1).any():
            metrics |= {'precision': BinaryPrecision(), 'recall': BinaryRecall(), 'f1': BinaryF1Score()}
        if have_both_classes(true):
            metrics['auc'] = BinaryAUROC()
    else:
        metrics = {
            'accuracy': MulticlassAccuracy(dim_out, average='micro'),
            'f1': MulticlassF1Score(dim_out, average='macro'),
        }
    return MetricCollection(metrics, compute_groups=False)


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
        if name not in build_metrics(dim_out, labels[split])
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


class MeanAUROC(MultilabelAUROC):
    """The mean over those tasks that have both classes among their labels, as OGB's evaluator takes it."""

    def compute(self) -> Tensor:
        """[]."""
        score, true = dim_zero_cat(self.preds), dim_zero_cat(self.target)
        tasks = have_both_classes(true)
        return multilabel_auroc(
            score[:, tasks], true[:, tasks], int(tasks.sum()), ignore_index=NO_LABEL, validate_args=False
        )


class MeanLoss(Metric):
    """The mean loss over labels, not finite if a loss is not: torchmetrics' mean leaves NaN out."""

    full_state_update = False

    def __init__(self) -> None:
        super().__init__()
        self.add_state('total', torch.tensor(0.0), dist_reduce_fx='sum')
        self.add_state('labels', torch.tensor(0.0), dist_reduce_fx='sum')

    def update(self, loss: Tensor, labels: int) -> None:
        """Counts the mean loss [] of a number of labels."""
        self.total += loss * labels
        self.labels += labels

    def compute(self) -> Tensor:
        """[]."""
        return self.total / self.labels


def targets(true: Tensor) -> Tensor:
    """Labels as the metrics take them: integers, NaN (a task without label) as `NO_LABEL`."""
    return true.nan_to_num(nan=NO_LABEL).long() if true.is_floating_point() else true


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
