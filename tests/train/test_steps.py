"""What a step of the optimizer is made of."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import runs
import torch

from graphgps_ext.train import fit
from graphgps_ext.train.state import Training

PLAIN = {'optim.optimizer': 'sgd', 'optim.base_lr': 1.0, 'optim.momentum': 0.0, 'optim.weight_decay': 0.0}
ONE = {**PLAIN, 'optim.scheduler': 'none', 'optim.max_epoch': 1}


def lengths_of_steps(monkeypatch: pytest.MonkeyPatch, out_dir: Path, changes: dict[str, Any]) -> list[float]:
    """How far each training step moves the weights, at a rate of one: the norm of its gradient."""
    lengths: list[float] = []
    step = fit.train_step

    def train_step(training: Training, batch: Any, **kwargs: Any) -> None:
        before = torch.nn.utils.parameters_to_vector(training.model.parameters()).detach().clone()
        step(training, batch, **kwargs)
        after = torch.nn.utils.parameters_to_vector(training.model.parameters()).detach()
        lengths.append((after - before).norm().item())

    with monkeypatch.context() as patch:
        patch.setattr(fit, 'train_step', train_step)
        runs.run('GCN', out_dir, {**ONE, **changes})
    return lengths


def test_norm_of_the_gradient_is_clipped(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    [free] = lengths_of_steps(monkeypatch, tmp_path / 'free', {'optim.clip_grad_norm': False})
    value = {'optim.clip_grad_norm_value': free / 4}
    [clipped] = lengths_of_steps(monkeypatch, tmp_path / 'clipped', value)
    assert free > 0 and clipped == pytest.approx(free / 4, rel=1e-3)
    [off] = lengths_of_steps(monkeypatch, tmp_path / 'off', {**value, 'optim.clip_grad_norm': False})
    assert off == free


def test_last_group_of_batches_may_be_smaller(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    parts = {'train.sampler': 'random_node', 'train.batch_size': 52}  # 256 nodes in five parts
    lengths = lengths_of_steps(monkeypatch, tmp_path, {**parts, 'optim.batch_accumulation': 3})
    assert [length > 0 for length in lengths] == [False, False, True, False, True]
