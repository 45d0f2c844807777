"""Metrics by task, from torchmetrics, under GraphGym's names."""

from __future__ import annotations

from collections.abc import Collection

from torch import Tensor
from torch_geometric.data import Data
from torch_geometric.graphgym.config import cfg
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

from graphgps_ext.errors import ConfigError

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


def build_metrics(dim_out: int) -> MetricCollection:
    """Metrics of `dataset.task_type` with `dim_out` classes, or tasks where a node has several labels."""
    metrics: dict[str, Metric]
    if cfg.dataset.task_type == 'classification_multilabel':
        metrics = {
            'accuracy': MultilabelAccuracy(dim_out, average='micro', ignore_index=NO_LABEL),
            'auc': MultilabelAUROC(dim_out, average='macro', ignore_index=NO_LABEL),
        }
    elif dim_out <= 2:
        metrics = {
            'accuracy': BinaryAccuracy(),
            'precision': BinaryPrecision(),
            'recall': BinaryRecall(),
            'f1': BinaryF1Score(),
            'auc': BinaryAUROC(),
        }
    else:
        metrics = {
            'accuracy': MulticlassAccuracy(dim_out, average='micro'),
            'f1': MulticlassF1Score(dim_out, average='macro'),
        }
    return MetricCollection(metrics, compute_groups=False)


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


def probabilities(score: Tensor) -> Tensor:
    """GraphGym's prediction score (log-soft-max of several classes, sigmoid otherwise) as probabilities."""
    if score.dim() == 2 and cfg.dataset.task_type == 'classification':
        return score.exp()
    return score
