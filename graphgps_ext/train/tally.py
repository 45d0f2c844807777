"""What an epoch has predicted for the nodes of a split, and its loss and metrics."""

from __future__ import annotations

import torch
from torch import Tensor, distributed

from graphgps_ext.train.metrics import compute_metrics


class Tally:
    """The predictions of one split, batch by batch; they stay where they are, and nobody waits for them.

    Args:
        names: its metrics, of :func:`graphgps_ext.train.metrics.existing_metrics`.
        world_size: number of processes, which count together.

    Attributes:
        names: of the numbers that :meth:`take` gives: `loss`, then the metrics.
    """

    def __init__(self, names: tuple[str, ...], world_size: int = 1) -> None:
        self.names = ('loss', *names)
        self.world_size = world_size
        self._parts: list[tuple[Tensor, Tensor]] = []
        self._losses: list[Tensor] = []
        self._labels = 0

    def add(self, loss: Tensor, labels: int, probability: Tensor, true: Tensor) -> None:
        """Counts a batch.

        Args:
            loss: [], the mean over its labels.
            labels: their number.
            probability: [n] or [n, ·], of :func:`graphgps_ext.train.metrics.loss_and_probability`.
            true: [n] int64, or [n, tasks] float with NaN = no label.
        """
        # A loss may be finite where a prediction is not.
        counted = torch.where(probability.isfinite().all(), loss.detach(), torch.nan)
        self._losses.append(counted.double() * labels)
        self._labels += labels
        self._parts.append((probability.detach(), true))

    def mean_loss(self) -> Tensor:
        """[] float64, of all processes: not finite if a loss or a prediction is not."""
        total = torch.stack(self._losses).sum()
        if self.world_size > 1:
            sums = torch.stack([total, total.new_tensor(self._labels)])
            distributed.all_reduce(sums)
            return sums[0] / sums[1]
        return total / self._labels

    def take(self) -> Tensor:
        """[names] float64, on the device of the predictions; then it is empty."""
        loss = self.mean_loss()
        probability, true = (torch.cat(parts) for parts in zip(*self._parts, strict=True))
        if self.world_size > 1:
            probability, true = _rows_of_all(probability), _rows_of_all(true)
        metrics = compute_metrics(self.names[1:], probability, true)
        self._parts, self._losses, self._labels = [], [], 0
        return torch.stack([loss, *metrics.values()])


def _rows_of_all(rows: Tensor) -> Tensor:
    """[sum of n, ·]: the rows [n, ·] of every process, in order of their ranks. Processes may differ in n."""
    sizes: list[int | None] = [None] * distributed.get_world_size()
    distributed.all_gather_object(sizes, len(rows))
    padded = rows.new_zeros(max(sizes), *rows.shape[1:])  # what is gathered has one shape
    padded[: len(rows)] = rows
    parts = [torch.empty_like(padded) for _ in sizes]
    distributed.all_gather(parts, padded)
    return torch.cat([part[:size] for part, size in zip(parts, sizes, strict=True)])
