"""Normalisation layers by name."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch_geometric.nn import GraphNorm

from graphgps_ext.layer.norm import build_norm


@pytest.mark.parametrize(
    ('name', 'kind'),
    [('batch', nn.BatchNorm1d), ('graph', GraphNorm), ('layer', nn.LayerNorm), (None, nn.Identity)],
)
def test_norms_have_names(name: str | None, kind: type[nn.Module]) -> None:
    assert isinstance(build_norm(name, 4), kind)


def test_batch_norm_of_one_row_uses_the_running_statistics() -> None:
    norm = build_norm('batch', 3)
    norm.running_mean.copy_(torch.tensor([1.0, 2.0, 3.0]))
    norm.running_var.copy_(torch.tensor([4.0, 4.0, 0.25]))
    norm.weight.data.fill_(10.0)
    row = torch.tensor([[3.0, 2.0, 2.0]], requires_grad=True)
    out = norm.train()(row)
    torch.testing.assert_close(out, torch.tensor([[10.0, 0.0, -20.0]]), atol=1e-3, rtol=0.0)
    out.sum().backward()
    torch.testing.assert_close(row.grad, torch.tensor([[5.0, 5.0, 20.0]]), atol=1e-3, rtol=0.0)
    # One row says nothing about the spread: it does not count towards the statistics.
    assert norm.running_mean.tolist() == [1.0, 2.0, 3.0] and norm.num_batches_tracked == 0


def test_batch_norm_of_several_rows_is_that_of_torch() -> None:
    ours, theirs = build_norm('batch', 3), nn.BatchNorm1d(3)
    x = torch.randn(5, 3)
    for training in (True, False):
        torch.testing.assert_close(ours.train(training)(x), theirs.train(training)(x))
    torch.testing.assert_close(ours.state_dict(), theirs.state_dict())


def test_graph_norm_is_that_of_pyg() -> None:
    ours, theirs = build_norm('graph', 3), GraphNorm(3)
    with torch.no_grad():
        for parameter, draw in zip(theirs.parameters(), torch.randn(3, 3), strict=True):
            parameter.copy_(draw)
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(50, 3)
    torch.testing.assert_close(ours(x), theirs(x))
