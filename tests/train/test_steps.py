"""What a step of the optimizer is made of."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
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


# No node depends on another, and none on chance.
INDEPENDENT = {**ONE, 'gt.batch_norm': False, 'gnn.dropout': 0.0, 'optim.clip_grad_norm': False}


def trained(stage: str, out_dir: Path, changes: dict[str, Any]) -> dict[str, torch.Tensor]:
    """The weights after one epoch."""
    folder = runs.run(stage, out_dir, {**INDEPENDENT, **changes}) / '0'
    return torch.load(folder / 'ckpt' / 'best.ckpt', weights_only=False)['state_dict']


def test_accumulation_does_nothing_to_a_full_batch(tmp_path: Path) -> None:
    [one, four] = [
        runs.result(runs.run('GCN', tmp_path / str(n), {**PLAIN, 'optim.batch_accumulation': n}) / '0')
        for n in (1, 4)
    ]
    assert one['train'] == four['train'] and one['val'] == four['val']


@pytest.mark.parametrize('batch_size', [100, 86])
def test_a_group_of_batches_is_one_step_on_all_of_them(tmp_path: Path, batch_size: int) -> None:
    """256 nodes in three parts, the last one smaller, each with another number of training nodes."""
    parts = {'train.sampler': 'random_node', 'train.batch_size': batch_size}
    union = trained('MLP', tmp_path / 'union', {})
    group = trained('MLP', tmp_path / 'group', {**parts, 'optim.batch_accumulation': 3})
    single = trained('MLP', tmp_path / 'single', parts)
    for name, value in union.items():
        torch.testing.assert_close(group[name], value, atol=1e-6, rtol=1e-5)
    assert any(not torch.allclose(single[name], value, atol=1e-4) for name, value in union.items())


def test_a_batch_of_a_group_weighs_as_many_labels_as_it_has(tmp_path: Path) -> None:
    """Tasks without labels: most batches know few of them."""
    rng = np.random.default_rng(0)
    y = rng.integers(2, size=(120, 4)).astype(float)
    y[rng.random(y.shape) < np.linspace(0, 0.9, 120)[:, None]] = np.nan
    x, edge_index = rng.normal(size=(120, 6)), rng.integers(120, size=(2, 300))
    np.savez(tmp_path / 'tasks.npz', x=x, y=y, edge_index=edge_index)
    data = {
        'dataset.format': 'file',
        'dataset.path': tmp_path / 'tasks.npz',
        'dataset.task_type': 'classification_multilabel',
    }
    parts = {'train.sampler': 'random_node', 'train.batch_size': 8, 'optim.batch_accumulation': 15}
    union = trained('MLP', tmp_path / 'union', data)
    group = trained('MLP', tmp_path / 'group', {**data, **parts})
    for name, value in union.items():
        torch.testing.assert_close(group[name], value, atol=1e-6, rtol=1e-5)


def test_batches_without_training_nodes_and_of_one_node_belong_to_their_group(tmp_path: Path) -> None:
    few = {'dataset.split': [0.02, 0.49, 0.49], 'gt.layer_norm': False, 'gt.batch_norm': True}
    parts = {'train.sampler': 'random_node', 'train.batch_size': 1, 'optim.batch_accumulation': 7}
    folder = runs.run('GCN', tmp_path, {**few, **parts, 'dataset.grid_side': 10, 'optim.max_epoch': 2}) / '0'
    assert all(np.isfinite(row['loss']) for row in runs.stats(folder, 'train'))
