"""A network of GraphGym with the loss of node classification."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn
from torch_geometric.data import Data
from torch_geometric.graphgym.config import cfg
from torch_geometric.graphgym.register import network_dict

from graphgps_ext.layer.dropout import make_cheap
from graphgps_ext.train.metrics import existing_metrics, loss_and_probability
from graphgps_ext.train.tally import Tally


class NodeClassifier(nn.Module):
    """Any network of GraphGym for nodes.

    GraphGym evaluates each split by a pass of its own; here one pass over the evaluation batches serves
    validation and test, which halves the cost of an evaluation.

    Args:
        dim_in: number of node features.
        dim_out: number of classes or tasks.
        labels: of the nodes of each split, which decide what metrics there are.

    Attributes:
        metrics: names of those of each split.
    """

    model: Any  # what it can do is said by its capabilities

    def __init__(self, dim_in: int, dim_out: int, labels: Mapping[str, Tensor]) -> None:
        super().__init__()
        binary = cfg.dataset.task_type == 'classification' and dim_out == 2
        self.model = network_dict[cfg.model.type](dim_in=dim_in, dim_out=1 if binary else dim_out)
        make_cheap(self.model)
        self.dim_metrics = dim_out
        self.metrics = {split: existing_metrics(dim_out, true) for split, true in labels.items()}
        self.all_known = {split: not bool(true.isnan().any()) for split, true in labels.items()}

    def forward(self, batch: Data, split: str | None = None) -> tuple[Tensor, Tensor]:
        """Predictions and labels of the nodes of a split, or of all that the network predicts.

        The network gets a copy of the batch to write on, as the batch may be used again.
        """
        batch = copy.copy(batch)
        if split is not None:
            batch.split = split
        return self.model(batch)

    def count(
        self, tally: Tally, split: str, pred: Tensor, true: Tensor, known: Tensor | None = None
    ) -> tuple[Tensor, int]:
        """The mean loss of predictions and the number of its labels; both are counted.

        Args:
            tally: of the split.
            split: its name.
            pred: of the network.
            true: [n] or [n, tasks].
            known: where in the flat labels one is known: tasks without a label are not learned from. None:
                looked for, if a label of the split is missing; then a GPU has to be waited for.
        """
        loss, probability = loss_and_probability(pred, true)
        if known is None and not self.all_known[split]:
            known = (~true.isnan()).flatten().nonzero().flatten()
        labels = true.numel() if known is None else known.numel()
        if known is not None and labels < true.numel():
            loss, _ = loss_and_probability(pred.flatten()[known], true.flatten()[known])
        if labels:
            tally.add(loss, labels, probability, true)
        return loss, labels
