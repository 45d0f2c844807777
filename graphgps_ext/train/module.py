"""GraphGym's Lightning module for node classification, with one evaluation pass for all splits."""

from __future__ import annotations

import copy
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch_geometric.data import Data
from torch_geometric.graphgym.config import cfg
from torch_geometric.graphgym.loss import compute_loss
from torch_geometric.graphgym.model_builder import GraphGymModule
from torchmetrics import MeanMetric, MetricCollection

from graphgps_ext.train.metrics import build_metrics, targets

SPLITS = ('train', 'val', 'test')


class NodeClassifier(GraphGymModule):
    """Any network of GraphGym for nodes, trained on `train_mask`.

    GraphGym evaluates each split by a pass of its own; here one pass over the evaluation batches serves
    validation and test, which halves the cost of an evaluation.

    Args:
        dim_in: number of node features.
        dim_out: number of classes or tasks.
    """

    def __init__(self, dim_in: int, dim_out: int) -> None:
        binary = cfg.dataset.task_type == 'classification' and dim_out == 2
        super().__init__(dim_in, 1 if binary else dim_out, cfg)
        self.dim_metrics = dim_out
        self.best_epoch = -1  # known once training has ended
        self.split_metrics = nn.ModuleDict({f'{split}_split': build_metrics(dim_out) for split in SPLITS})
        self.split_loss = nn.ModuleDict({f'{split}_split': MeanMetric() for split in SPLITS})

    def forward(self, batch: Data) -> tuple[Tensor, Tensor]:
        """Prediction and labels; the network gets a copy to write on, as the batch may be used again."""
        return self.model(copy.copy(batch))

    def training_step(self, batch: Data, *args: Any, **kwargs: Any) -> Tensor | None:
        """The loss on the training nodes of the batch; None, which is no step, if it has none."""
        batch = copy.copy(batch)
        batch.split = 'train'
        pred, true = self(batch)
        if not len(true):
            return None
        return self._update('train', pred, true)

    def validation_step(self, batch: Data, *args: Any, **kwargs: Any) -> None:
        """One pass; the rows of each split are told apart by its mask."""
        pred, true = self(batch)
        for split in ('val', 'test'):
            mask = batch[f'{split}_mask'][: len(pred)]
            if mask.any():
                self._update(split, pred[mask], true[mask])

    def _update(self, split: str, pred: Tensor, true: Tensor) -> Tensor:
        loss, score = compute_loss(pred, true)
        if true.is_floating_point() and true.isnan().any():  # tasks without a label: not learned from
            known = ~true.isnan()
            loss, _ = compute_loss(pred[known], true[known])
        metrics, mean_loss = self._of(split)
        metrics.update(score.detach().float(), targets(true))
        mean_loss.update(loss.detach(), weight=len(true))
        return loss

    def _of(self, split: str) -> tuple[MetricCollection, MeanMetric]:
        return (
            cast(MetricCollection, self.split_metrics[f'{split}_split']),
            cast(MeanMetric, self.split_loss[f'{split}_split']),
        )

    def epoch_metrics(self, split: str) -> dict[str, float]:
        """Loss and metrics of a split since the last call (of all processes), and a fresh start."""
        metrics, loss = self._of(split)
        values = {'loss': loss.compute(), **metrics.compute()}
        metrics.reset()
        loss.reset()
        return {name: float(value) for name, value in values.items()}

    @torch.no_grad()
    def predict(self, batches: Any, num_nodes: int) -> Tensor:
        """Prediction scores of GraphGym for all nodes that are seeds of `batches`, [N, ·] on the CPU.

        Rows of nodes that are no seeds are NaN.
        """
        self.eval()
        scores = None
        for batch in batches:
            batch = batch.to(self.device)
            pred, true = self(batch)
            # Any labels do: only the score is wanted, and unlabelled nodes have none.
            _, score = compute_loss(pred, torch.zeros_like(true))
            if scores is None:
                scores = torch.full((num_nodes, *score.shape[1:]), float('nan'))
            nodes = batch.n_id[: len(score)].cpu() if 'n_id' in batch else slice(None)
            scores[nodes] = score.float().cpu()
        assert scores is not None
        return scores
