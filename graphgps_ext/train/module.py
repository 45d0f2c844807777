"""A network of GraphGym with the loss and the metrics of node classification."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch_geometric.data import Data
from torch_geometric.graphgym.config import cfg
from torch_geometric.graphgym.loss import compute_loss
from torch_geometric.graphgym.register import network_dict
from torchmetrics import MeanMetric

from graphgps_ext.train.metrics import build_metrics, targets
from graphgps_ext.train.stats import SPLITS
from graphgps_ext.transform.batch import to_device


class NodeClassifier(nn.Module):
    """Any network of GraphGym for nodes, with metrics of each split.

    GraphGym evaluates each split by a pass of its own; here one pass over the evaluation batches serves
    validation and test, which halves the cost of an evaluation.

    Args:
        dim_in: number of node features.
        dim_out: number of classes or tasks.
    """

    model: Any  # what it can do is said by its capabilities

    def __init__(self, dim_in: int, dim_out: int) -> None:
        super().__init__()
        binary = cfg.dataset.task_type == 'classification' and dim_out == 2
        self.model = network_dict[cfg.model.type](dim_in=dim_in, dim_out=1 if binary else dim_out)
        self.dim_metrics = dim_out
        self.split_metrics = nn.ModuleDict({f'{split}_split': build_metrics(dim_out) for split in SPLITS})
        self.split_loss = nn.ModuleDict({f'{split}_split': MeanMetric() for split in SPLITS})

    def forward(self, batch: Data, split: str | None = None) -> tuple[Tensor, Tensor]:
        """Predictions and labels of the nodes of a split, or of all that the network predicts.

        The network gets a copy of the batch to write on, as the batch may be used again.
        """
        batch = copy.copy(batch)
        if split is not None:
            batch.split = split
        return self.model(batch)

    def update(self, split: str, pred: Tensor, true: Tensor) -> Tensor:
        """The mean loss of predictions, which are counted in the metrics of their split."""
        loss, probability = compute_loss(pred, true)
        if true.is_floating_point() and true.isnan().any():  # tasks without a label: not learned from
            known = ~true.isnan()
            loss, _ = compute_loss(pred[known], true[known])
        self.split_metrics[f'{split}_split'].update(probability.detach().float(), targets(true))
        self.split_loss[f'{split}_split'].update(loss.detach(), weight=len(true))
        return loss

    def epoch_metrics(self, split: str) -> dict[str, float]:
        """Loss and metrics of a split since the last call (of all processes), and a fresh start."""
        metrics, loss = self.split_metrics[f'{split}_split'], self.split_loss[f'{split}_split']
        values = {'loss': loss.compute(), **metrics.compute()}
        metrics.reset()
        loss.reset()
        return {name: float(value) for name, value in values.items()}

    @torch.no_grad()
    def predict(self, batches: Iterable[Data], num_nodes: int, device: torch.device) -> Tensor:
        """What GraphGym calls the score of a prediction, for all seeds of `batches`: [N, ·] on the CPU.

        Rows of nodes that are no seeds are NaN.
        """
        self.eval()
        predictions = None
        for batch in batches:
            batch = to_device(batch, device)
            pred, true = self(batch)
            # Any labels do: only the prediction is wanted, and unlabelled nodes have none.
            _, prediction = compute_loss(pred, torch.zeros_like(true))
            if predictions is None:
                predictions = torch.full((num_nodes, *prediction.shape[1:]), float('nan'))
            nodes = batch.n_id[: len(prediction)].cpu() if 'n_id' in batch else slice(None)
            predictions[nodes] = prediction.float().cpu()
        assert predictions is not None
        return predictions
