"""Dropout on a CPU: its law, its gradient, and which modules have it."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from graphgps_ext.layer.dropout import Dropout, dropout, make_cheap


@pytest.mark.parametrize('p', [0.001, 0.2, 0.5, 0.93])
def test_elements_are_dropped_independently_with_probability_p(p: float) -> None:
    torch.manual_seed(0)
    n = 1_000_000
    kept = dropout(torch.ones(n), p, True) > 0
    error = 5 * (p * (1 - p) / n) ** 0.5  # five standard deviations
    assert kept.double().mean().item() == pytest.approx(1 - p, abs=error)
    for lag in (1, 2, 3, 4, 1000):  # neighbours share a random number
        both = (kept[lag:] & kept[:-lag]).double().mean().item()
        assert both == pytest.approx((1 - p) ** 2, abs=3 * error)


@pytest.mark.parametrize('shape', [(), (1,), (7, 3), (5, 1, 2), (0, 4)])
@pytest.mark.parametrize('dtype', [torch.float32, torch.float64, torch.bfloat16])
def test_what_stays_is_scaled_and_its_gradient_too(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    torch.manual_seed(1)
    x = torch.full(shape, 3.0, dtype=dtype, requires_grad=True)
    out = dropout(x, 0.25, True)
    assert out.shape == shape and out.dtype == dtype
    assert set(out.flatten().tolist()) <= {0.0, 4.0}
    out.sum().backward()
    assert x.grad is not None and torch.equal(x.grad, out.detach() / 3)


def test_ends_are_exact_and_evaluation_changes_nothing() -> None:
    x = torch.randn(50)
    assert torch.equal(dropout(x, 0.0, True), x) and not dropout(x, 1.0, True).any()
    assert dropout(x, 0.5, False) is x


def test_equal_seeds_give_equal_masks() -> None:
    torch.manual_seed(2)
    first, other = (dropout(torch.ones(99), 0.5, True) for _ in range(2))
    torch.manual_seed(2)
    assert torch.equal(dropout(torch.ones(99), 0.5, True), first) and not torch.equal(first, other)


def test_modules_of_torch_are_turned_into_ours() -> None:
    net = nn.Sequential(nn.Dropout(0.3), nn.Sequential(nn.Dropout(0.3)), nn.Dropout(0.3, inplace=True))
    make_cheap(net)
    assert [type(m) for m in net.modules() if isinstance(m, nn.Dropout)] == [Dropout, Dropout, nn.Dropout]
    torch.manual_seed(3)
    out = net[0](torch.ones(20))
    torch.manual_seed(3)
    assert torch.equal(out, dropout(torch.ones(20), 0.3, True))
    assert torch.equal(net.eval()[0](out), out)
