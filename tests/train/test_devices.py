"""Several devices share mini-batches: two processes on a CPU, as a user starts them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import runs
import torch
from lightning_fabric import Fabric
from lightning_fabric.utilities.rank_zero import rank_zero_only
from torch_geometric.data import Data
from yacs.config import CfgNode

from graphgps_ext.errors import ConfigError
from graphgps_ext.train.batches import WholeGraphBatches
from graphgps_ext.train.fit import fit
from graphgps_ext.train.module import NodeClassifier
from graphgps_ext.train.run import Run

# Nothing that depends on which nodes share a batch: no dropout, no statistics of a batch.
KEYS = {
    'spex.strategy': 'uniform',
    'spex.estimator': '',
    'gt.dropout': 0.0,
    'gt.batch_norm': False,
    'gt.layer_norm': True,
    'optim.max_epoch': 3,
    'train.ckpt_period': 1,
    'train.sampler': 'spex_neighbor',
    'val.sampler': 'spex_neighbor',
}


def steps(run_dir: Path) -> int:
    return torch.load(run_dir / 'ckpt' / 'last.ckpt', weights_only=False)['global_step']


@pytest.mark.slow
def test_two_processes_train_and_are_evaluated_as_one(tmp_path: Path) -> None:
    # Of 128 training nodes each process has 64, in two batches whose gradients are added up.
    # They are evaluated layer by layer, each on its share of the rows.
    shared = {'devices': 2, 'train.batch_size': 32, 'optim.batch_accumulation': 2}
    shared |= {'val.sampler': 'spex_layerwise'}
    words = runs.arguments('spexphormer', tmp_path / 'two', {**KEYS, **shared}, '--repeat', '2')
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    one = runs.run('spexphormer', tmp_path / 'one', {**KEYS, 'train.batch_size': 128}) / '0'
    two = tmp_path / 'two' / one.parent.name / '0'
    for split in runs.SPLITS:
        for row, wanted in zip(runs.stats(two, split), runs.stats(one, split), strict=True):
            for name in ('epoch', 'lr', 'loss', 'accuracy', 'auc'):
                assert row[name] == pytest.approx(wanted[name], abs=1e-4)
    assert steps(two) == steps(one) == 3
    assert runs.summary(two)['test']['auc'] == pytest.approx(runs.summary(one)['test']['auc'], abs=1e-4)
    assert runs.summary(two.with_name('1'))['seed'] == 1  # the second run of the same two processes
    assert 'epoch 3/3' in (two / 'logging.log').read_text()


def test_search_on_several_devices_is_refused(graphgym_cfg: CfgNode) -> None:
    graphgym_cfg.run_dir = 'nowhere'
    graphgym_cfg.devices, graphgym_cfg.gnn.head, graphgym_cfg.dataset.task = 2, 'node', 'node'
    with pytest.raises(ConfigError, match='a search needs devices 1, got 2'):
        run = Run(Fabric(), {}, after_evaluation=lambda epoch, best: None)
        labels = dict.fromkeys(runs.SPLITS, torch.tensor([0, 1]))
        fit(NodeClassifier(3, 2, labels), WholeGraphBatches(Data()), run)


def test_one_device_does_not_mind_what_a_job_scheduler_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    of_torchrun = {
        'RANK': '3',
        'WORLD_SIZE': '8',
        'LOCAL_RANK': '3',
        'LOCAL_WORLD_SIZE': '8',
        'GROUP_RANK': '0',
    }
    of_slurm = {'SLURM_NTASKS': '8', 'SLURM_PROCID': '3', 'SLURM_JOB_NAME': 'train', 'SLURM_LOCALID': '3'}
    for name, value in {**of_torchrun, **of_slurm, 'TORCHELASTIC_RUN_ID': 'job'}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(rank_zero_only, 'rank', 3)  # which is read when Lightning is imported
    folder = runs.run('spexphormer', tmp_path, {**KEYS, 'optim.max_epoch': 1})
    assert runs.summary(folder / '0')['epochs'] == 1 and (folder / 'agg').is_dir()
