"""A network of GraphGym with the loss and the metrics of node classification."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch_geometric.data import Data
from torch_geometric.graphgym.config import cfg
from torch_geometric.graphgym.register import network_dict

from graphgps_ext.train.metrics import MeanLoss, build_metrics, loss_and_probability, targets
from graphgps_ext.train.stats import SPLITS


class NodeClassifier(nn.Module):
    """Any network of GraphGym for nodes, with metrics of each split.

    GraphGym evaluates each split by a pass of its own; here one pass over the evaluation batches serves
    validation and test, which halves the cost of an evaluation.

    Args:
        dim_in: number of node features.
        dim_out: number of classes or tasks.
        labels: of the nodes of each split, which decide what metrics there are.
    """

    model: Any  # what it can do is said by its capabilities

    def __init__(self, dim_in: int, dim_out: int, labels: Mapping[str, Tensor]) -> None:
        super().__init__()
        binary = cfg.dataset.task_type == 'classification' and dim_out == 2
        self.model = network_dict[cfg.model.type](dim_in=dim_in, dim_out=1 if binary else dim_out)
        self.dim_metrics = dim_out
        self.split_metrics = nn.ModuleDict(
            {f'{split}_split': build_metrics(dim_out, labels[split]) for split in SPLITS}
        )
        self.split_loss = nn.ModuleDict({f'{split}_split': MeanLoss() for split in SPLITS})

    def forward(self, batch: Data, split: str | None = None) -> tuple[Tensor, Tensor]:
        """Predictions and labels of the nodes of a split, or of all that the network predicts.

        The network gets a copy of the batch to write on, as the batch may be used again.
        """
        batch = copy.copy(batch)
        if split is not None:
            batch.split = split
        return self.model(batch)

    def update(self, split: str, pred: Tensor, true: Tensor) -> tuple[Tensor, int]:
        """The mean loss of predictions and the number of its labels; both are counted for their split.

        The loss that is counted is NaN where a prediction is not finite.
        """
        loss, probability = loss_and_probability(pred, true)
        labels = len(true)
        if true.is_floating_point():
            known = ~true.isnan()
            labels = int(known.sum())
            if labels < true.numel():  # tasks without a label: not learned from
                loss, _ = loss_and_probability(pred[known], true[known])
        if not labels:
            return loss, 0
        self.split_metrics[f'{split}_split'].update(probability, targets(true))
        counted = torch.where(probability.isfinite().all(), loss.detach(), torch.nan)
        self.split_loss[f'{split}_split'].update(counted, labels)
        return loss, labels

    def mean_loss(self, split: str) -> float:
        """That of the split since the last call of :meth:`epoch_metrics`, in all processes."""
        return float(self.split_loss[f'{split}_split'].compute())

    def epoch_metrics(self, split: str) -> dict[str, float]:
        """Loss and metrics of a split since the last call (of all processes), and a fresh start."""
        metrics, loss = self.split_metrics[f'{split}_split'], self.split_loss[f'{split}_split']
        values = {'loss': loss.compute(), **metrics.compute()}
        metrics.reset()
        loss.reset()
        return {name: float(value) for name, value in values.items()}
