"""Normalisation layers by name, each taking [N, d]."""

from __future__ import annotations

from torch import Tensor, nn
from torch_geometric.nn import GraphNorm


class BatchNorm(nn.BatchNorm1d):
    """Batch normalisation that uses its running statistics where a batch has one row.

    A last mini-batch of one seed node has no variance; torch's module raises there.
    """

    def forward(self, input: Tensor) -> Tensor:
        """[N, d] to [N, d]."""
        if self.training and input.shape[0] < 2:
            return nn.functional.batch_norm(
                input, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps
            )
        return super().forward(input)


def allow_single_rows(module: nn.Module) -> None:
    """Turns torch's batch norms within `module`, which others have built, into :class:`BatchNorm`."""
    for part in module.modules():
        if type(part) is nn.BatchNorm1d:
            part.__class__ = BatchNorm  # of the same state


class OneGraphNorm(GraphNorm):
    """PyG's `GraphNorm` of one graph, by sums over its rows.

    PyG's scatters the rows to their graphs, on a GPU in another order each time: no run would repeat.
    """

    def forward(self, x: Tensor, batch: None = None, batch_size: None = None) -> Tensor:
        """[N, d] to [N, d]."""
        out = x - x.mean(0) * self.mean_scale
        return self.weight * out / (out.square().mean(0) + self.eps).sqrt() + self.bias


NORMS = {'batch': BatchNorm, 'graph': OneGraphNorm, 'layer': nn.LayerNorm}


def build_norm(name: str | None, channels: int) -> nn.Module:
    """A normalisation layer: 'batch', 'graph' (GraphNorm, Cai et al. 2021), 'layer', or None for identity."""
    return nn.Identity() if name is None else NORMS[name](channels)
