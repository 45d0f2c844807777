"""Fused steps of optimizers: the same settings, and the same numbers but for rounding."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.nn import Parameter
from torch.optim import SGD, Adam, AdamW, Optimizer, RMSprop

from graphgps_ext.optimizer.fused import fused

DEVICES = ['cpu', pytest.param('cuda', marks=pytest.mark.gpu)]
MADE: dict[str, Callable[[Any], Optimizer]] = {
    'AdamW': lambda groups: AdamW(groups, lr=0.3, betas=(0.8, 0.9), weight_decay=0.2, eps=1e-5),
    'Adam': lambda groups: Adam(groups, lr=0.3, amsgrad=True),
    'SGD': lambda groups: SGD(groups, lr=0.3, momentum=0.9, nesterov=True, weight_decay=0.1),
}


def groups(device: str) -> list[dict[str, Any]]:
    first, second = (Parameter(torch.linspace(-1, 1, n, device=device)) for n in (3, 5))
    return [{'params': [first]}, {'params': [second], 'lr': 0.01, 'weight_decay': 0.0}]


@pytest.mark.parametrize('device', DEVICES)
@pytest.mark.parametrize('name', MADE)
def test_steps_are_those_of_the_optimizer_with_its_groups(name: str, device: str) -> None:
    if device == 'cuda' and not torch.cuda.is_available():
        pytest.skip('needs a GPU')
    plain = MADE[name](groups(device))
    made = fused(MADE[name](groups(device)))
    assert type(made) is type(plain) and made.param_groups[0]['fused']
    assert made.param_groups[0].get('capturable', True) == (device == 'cuda' or name == 'SGD')
    for optimizer in (plain, made):
        for _ in range(5):
            optimizer.zero_grad()
            weights = [group['params'][0] for group in optimizer.param_groups]
            sum((weight**4).sum() for weight in weights).backward()
            optimizer.step()
    for one, other in zip(plain.param_groups, made.param_groups, strict=True):
        assert (one['lr'], one['weight_decay']) == (other['lr'], other['weight_decay'])
        assert torch.allclose(one['params'][0], other['params'][0], rtol=1e-5, atol=1e-7)


def test_others_stay_as_they_are() -> None:
    plain = RMSprop([Parameter(torch.ones(3))])
    assert fused(plain) is plain
