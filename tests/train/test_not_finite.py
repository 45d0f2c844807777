"""Losses, predictions and weights that are not finite: a run ends with a message, and reports nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import runs
import torch
from torch import Tensor, nn
from yacs.config import CfgNode

from graphgps_ext.errors import NotFiniteError
from graphgps_ext.network.transformer import Estimator
from graphgps_ext.train import fit, report
from graphgps_ext.train.finite import refuse_weights
from graphgps_ext.train.state import Training

HUGE = {'optim.base_lr': 1e30}
UNIFORM = {'spex.strategy': 'uniform', 'spex.estimator': ''}
PARTS = {'train.sampler': 'random_node', 'train.batch_size': 16}  # sixteen of them
DIVERGED: dict[str, tuple[str, dict[str, Any]]] = {
    'stage 1': ('estimator', {}),
    'stage 2': ('spexphormer', UNIFORM),
    'mini-batches': (
        'spexphormer',
        {**UNIFORM, 'train.sampler': 'spex_neighbor', 'val.sampler': 'spex_neighbor', 'train.batch_size': 50},
    ),
    'message passing': ('GCN', {}),
    'no evaluation before': ('estimator', {'train.eval_period': 4}),
}


def refused(stage: str, out_dir: Path, changes: dict[str, Any]) -> str:
    """The message of a run that ends so; what it leaves is whole and no result."""
    message = runs.refusal(stage, out_dir, {'optim.max_epoch': 8, **changes})
    assert 'is not finite. Most likely' in message
    run_dir = out_dir / runs.CONFIGS[stage].stem / '0'
    files = runs.files_in(run_dir)
    assert 'summary.json' not in files and not [name for name in files if name.startswith('scores')]
    for split in runs.SPLITS:
        if (run_dir / split).is_dir():
            assert all(np.isfinite(row['loss']) for row in runs.stats(run_dir, split))
    for checkpoint in run_dir.glob('ckpt/best.ckpt'):
        state = torch.load(checkpoint, weights_only=False)['state_dict']
        assert all(value.isfinite().all() for value in state.values() if torch.is_tensor(value))
    return message


@pytest.mark.parametrize('name', DIVERGED)
def test_training_that_diverges_ends_with_a_message(tmp_path: Path, name: str) -> None:
    stage, changes = DIVERGED[name]
    message = refused(stage, tmp_path, {**HUGE, **changes})
    assert message.startswith('error: epoch ')
    assert 'Most likely the steps are too large (lower optim.base_lr 1e+30)' in message


def test_a_folder_of_diverged_training_can_be_taken_up_and_overwritten(tmp_path: Path) -> None:
    message = refused('GCN', tmp_path, {**HUGE, 'train.ckpt_period': 1})
    assert refused('GCN', tmp_path, {**HUGE, 'train.ckpt_period': 1}) == message
    assert runs.summary(runs.run('GCN', tmp_path, {'train.overwrite': True}) / '0')['epochs'] == 4


@pytest.mark.parametrize('stage', ['estimator', 'GCN'])
def test_features_of_huge_scale_are_named(tmp_path: Path, stage: str) -> None:
    rng = np.random.default_rng(0)
    y = np.arange(120) % 2
    x = rng.normal(size=(120, 4)) * 1e37
    np.savez(tmp_path / 'huge.npz', x=x, y=y, edge_index=rng.integers(120, size=(2, 400)))
    data = {'dataset.format': 'file', 'dataset.path': tmp_path / 'huge.npz', 'metric_best': 'auto'}
    message = refused(stage, tmp_path, data)
    assert message.startswith('error: epoch 0: ')
    assert 'Most likely the features are too large (set dataset.normalize_features, now none' in message


def test_a_long_epoch_is_not_trained_to_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[int] = []
    step = fit.train_step

    def train_step(training: Training, batch: Any, **kwargs: Any) -> None:
        steps.append(training.epoch)
        step(training, batch, **kwargs)

    monkeypatch.setattr(fit, 'train_step', train_step)
    monkeypatch.setattr(fit, 'LOOK', 4)
    changes = {**HUGE, **PARTS, 'optim.scheduler': 'none'}
    assert refused('GCN', tmp_path, changes).startswith('error: epoch 0: ')
    assert steps == [0] * 4


def test_an_epoch_with_a_weight_that_is_not_finite_is_not_chosen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    evaluate = fit.evaluate

    def poisoned(training: Training, *args: Any) -> None:
        evaluate(training, *args)  # predictions are finite
        if training.epoch == 0:
            with torch.no_grad():
                next(training.model.parameters()).view(-1)[0] = torch.inf

    monkeypatch.setattr(fit, 'evaluate', poisoned)
    message = refused('GCN', tmp_path, {})
    assert message.startswith('error: epoch 0: a number in 1 of the ')
    assert 'tensors of the model is not finite' in message


def test_running_statistics_and_large_weights_count_for_what_they_are(graphgym_cfg: CfgNode) -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    nn.init.constant_(model[0].weight, 3e38)  # whose square is infinite
    refuse_weights(model, 0)
    model[1].running_var[1] = torch.nan
    with pytest.raises(
        NotFiniteError, match='epoch 3: a number in 1 of the 6 tensors of the model'
    ) as caught:
        refuse_weights(model, 3)
    assert 'Most likely the features are too large' in str(caught.value)


def test_attention_scores_that_are_not_finite_are_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scores = Estimator.attention_scores

    def spoiled(self: Estimator, batch: Any) -> Iterator[Tensor]:
        for layer in scores(self, batch):
            layer[7] = torch.nan
            yield layer

    monkeypatch.setattr(Estimator, 'attention_scores', spoiled)
    assert 'a number in 1 of the 3134 attention scores is not finite' in refused('estimator', tmp_path, {})


def test_predictions_that_are_not_finite_are_not_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    predict = report.predict

    def spoiled(*args: Any) -> Tensor:
        predictions = predict(*args)
        predictions[:] = torch.nan
        return predictions

    monkeypatch.setattr(report, 'predict', spoiled)
    assert 'predictions for the validation nodes is not finite' in refused('GCN', tmp_path, {})


def test_validation_of_one_class_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    masks = {f'{split}_mask': np.arange(90) % 3 == i for i, split in enumerate(runs.SPLITS)}
    y = np.where(masks['val_mask'], 0, rng.integers(2, size=90))
    x, edge_index = rng.normal(size=(90, 4)), rng.integers(90, size=(2, 300))
    np.savez(tmp_path / 'mine.npz', x=x, y=y, edge_index=edge_index, **masks)
    data = {'dataset.format': 'file', 'dataset.path': tmp_path / 'mine.npz', 'dataset.split_mode': 'standard'}
    message = runs.refusal('estimator', tmp_path / 'out', data)
    assert 'auc of the validation nodes does not exist: all 30 of them have class 0' in message
    assert runs.files_in(tmp_path / 'out') == []
    run_dir = runs.run('estimator', tmp_path / 'out', {**data, 'metric_best': 'accuracy'}) / '0'
    summary = runs.summary(run_dir)
    assert 'auc' in summary['test'] and 'auc' in summary['train']
    assert not summary['val'].keys() & {'auc', 'recall', 'precision', 'f1'}
    assert not runs.stats(run_dir, 'val')[0].keys() & {'auc', 'recall', 'precision', 'f1'}


@pytest.mark.parametrize('sampler', [{}, DIVERGED['mini-batches'][1]], ids=['full batch', 'mini-batch'])
def test_training_nodes_of_one_class_have_fewer_metrics(tmp_path: Path, sampler: dict[str, Any]) -> None:
    rng = np.random.default_rng(0)
    masks = {f'{split}_mask': np.arange(90) % 3 == i for i, split in enumerate(runs.SPLITS)}
    y = np.where(masks['train_mask'], 0, rng.integers(2, size=90))
    x, edge_index = rng.normal(size=(90, 4)), rng.integers(90, size=(2, 300))
    np.savez(tmp_path / 'mine.npz', x=x, y=y, edge_index=edge_index, **masks)
    data = {'dataset.format': 'file', 'dataset.path': tmp_path / 'mine.npz', 'dataset.split_mode': 'standard'}
    run_dir = runs.run('spexphormer', tmp_path, {**UNIFORM, **sampler, **data, 'train.batch_size': 10}) / '0'
    summary = runs.summary(run_dir)
    assert summary['train'].keys() == {'loss', 'accuracy'}
    assert {'auc', 'auc_single_draw'} < summary['test'].keys()
    json.dumps(summary, allow_nan=False)
