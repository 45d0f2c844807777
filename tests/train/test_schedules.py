"""Temperature and learning rate of each epoch, by hand."""

from __future__ import annotations

import math

import pytest
import torch
from torch_geometric.graphgym.register import optimizer_dict, scheduler_dict
from yacs.config import CfgNode

from graphgps_ext.train.recipes import temperature


def annealed(cfg: CfgNode, epoch: int, *, decay: float, minimum: float, hold: int) -> float:
    cfg.spex.temperature_decay, cfg.spex.temperature_min, cfg.spex.temperature_hold = decay, minimum, hold
    return temperature(epoch)


@pytest.mark.parametrize(
    ('epoch', 'expected'),
    [(0, 1.0), (4, 1.0), (5, 1.0), (6, 0.5), (7, 0.25), (8, 0.2), (100, 0.2)],
)
def test_temperature_is_one_then_decays_to_its_least(
    graphgym_cfg: CfgNode, epoch: int, expected: float
) -> None:
    assert annealed(graphgym_cfg, epoch, decay=0.5, minimum=0.2, hold=5) == pytest.approx(expected)


def test_temperature_of_the_published_settings(graphgym_cfg: CfgNode) -> None:
    assert annealed(graphgym_cfg, 99, decay=0.99, minimum=0.05, hold=5) == pytest.approx(0.99**94)
    assert annealed(graphgym_cfg, 149, decay=0.95, minimum=0.05, hold=10) == 0.05
    assert annealed(graphgym_cfg, 99, decay=1.0, minimum=0.05, hold=5) == 1.0
    assert annealed(graphgym_cfg, 1, decay=0.9, minimum=0.05, hold=0) == pytest.approx(0.9)


def learning_rates(num_warmup_epochs: int, max_epoch: int) -> list[float]:
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimizer = optimizer_dict['adamW'](iter([parameter]), base_lr=0.1, weight_decay=0.5)
    scheduler = scheduler_dict['cosine_with_warmup'](
        optimizer, num_warmup_epochs=num_warmup_epochs, max_epoch=max_epoch
    )
    rates = []
    for _ in range(max_epoch):
        rates.append(optimizer.param_groups[0]['lr'])
        optimizer.step()
        scheduler.step()
    return rates


def test_learning_rate_rises_linearly_and_falls_as_a_cosine() -> None:
    rates = learning_rates(num_warmup_epochs=3, max_epoch=11)
    assert rates[:4] == pytest.approx([0.025, 0.05, 0.075, 0.1])
    cosine = [0.05 * (1 + math.cos(math.pi * step / 8)) for step in range(8)]
    assert rates[3:] == pytest.approx(cosine)


def test_learning_rate_without_warmup_is_a_cosine() -> None:
    cosine = [0.05 * (1 + math.cos(math.pi * step / 5)) for step in range(5)]
    assert learning_rates(num_warmup_epochs=0, max_epoch=5) == pytest.approx(cosine)


def test_warmup_may_be_longer_than_training() -> None:
    assert learning_rates(num_warmup_epochs=4, max_epoch=2) == pytest.approx([0.02, 0.04])


def test_optimizer_decays_weights_apart_from_the_gradient() -> None:
    parameter = torch.nn.Parameter(torch.tensor([1.0]))
    optimizer = optimizer_dict['adamW'](iter([parameter]), base_lr=0.1, weight_decay=0.5)
    parameter.grad = torch.tensor([7.0])
    optimizer.step()
    # A first step of Adam is the rate times the sign; the decay takes rate · 0.5 of the weight beside it.
    assert parameter.item() == pytest.approx(1 - 0.1 * 0.5 - 0.1, abs=1e-5)
