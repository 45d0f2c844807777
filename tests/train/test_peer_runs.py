"""PyG's models through main.py: they learn, in full batch and in random parts, and resume."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import runs
import torch
from torch_geometric.data import Data
from torch_geometric.utils import subgraph
from yacs.config import CfgNode

from graphgps_ext.train import fit, state
from graphgps_ext.train.batches import EVALUATION, REPORT, TRAINING, RandomParts
from graphgps_ext.train.state import Training

PARTS = {'train.sampler': 'random_node', 'train.batch_size': 100, 'train.ckpt_period': 1}
# A mine is independent of all that these two see: of what a node shows, and of who its neighbours are.
BY_CHANCE = ('MLP', 'LINKX')
CONFIG_NAME = 'minesweeper-grid-Polynormer'


def before_each_step(monkeypatch: pytest.MonkeyPatch, look: Callable[[Training], None]) -> None:
    """Lets a test look at the model before each step of its training."""
    step = fit.train_step

    def train_step(training: Training, batch: Data, **kwargs: Any) -> None:
        look(training)
        step(training, batch, **kwargs)

    monkeypatch.setattr(fit, 'train_step', train_step)


@contextmanager
def interrupted_at(epoch: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A run in this block is interrupted in its training step of that epoch."""

    def fail(training: Training) -> None:
        if training.epoch == epoch:
            raise InterruptedError

    with monkeypatch.context() as patch, pytest.raises(InterruptedError):
        before_each_step(patch, fail)
        yield


def test_each_model_learns_what_it_can_see(tmp_path: Path) -> None:
    auc = {}
    for name in runs.PEERS:
        few = {'optim.max_epoch': 2} if name in BY_CHANCE else {'optim.max_epoch': 30}
        folder = runs.run(name, tmp_path, {'dataset.grid_side': 36, **few})
        summary = runs.summary(folder / '0')
        assert summary['params'] > 100
        assert (summary['kept_share'] == 100) == (summary['edges'] > 0) == (name != 'MLP')
        auc[name] = summary['test']['auc']
    for name in BY_CHANCE:
        assert 0.4 < auc.pop(name) < 0.6
    plain = {name: auc.pop(name) for name in ('GCN', 'GATv2')}  # they average a node with its neighbours
    assert min(plain.values()) > 0.58 and min(auc.values()) > 0.65, (plain, auc)


def test_polynormer_changes_its_phase_during_the_run(tmp_path: Path) -> None:
    phases = []
    for local_epochs in (2, 9):
        out_dir = tmp_path / str(local_epochs)
        folder = runs.run('Polynormer', out_dir, {'train.ckpt_period': 1, 'gt.local_epochs': local_epochs})
        state = torch.load(folder / '0' / 'ckpt' / 'last.ckpt', weights_only=False)['state_dict']
        phases.append(state['model._extra_state'])
    assert phases == [{'global': True}, {'global': False}]


PHASES = {
    'gt.batch_norm': False,
    'gt.local_epochs': 6,
    'train.ckpt_period': 6,
    'optim.max_epoch': 12,
    'optim.scheduler': 'none',
}


def test_polynormer_goes_on_from_its_best_local_epoch_when_the_global_attention_joins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / CONFIG_NAME / '0' / 'ckpt'
    seen = []

    def compare_at_epoch_6(training: Training) -> None:
        if training.epoch == 6:
            best = torch.load(folder / 'best.ckpt', weights_only=False)
            weights = {name: value for name, value in best['state_dict'].items() if 'extra' not in name}
            own, moments = training.model.state_dict(), training.optimizer.state_dict()['state']
            for name, value in weights.items():
                torch.testing.assert_close(own[name], value, rtol=0, atol=0)
            torch.testing.assert_close(moments, best['optimizer']['state'], rtol=0, atol=0)
            seen.append((best['epoch'], training.model.model.model._global))

    before_each_step(monkeypatch, compare_at_epoch_6)
    runs.run('Polynormer', tmp_path, {**PHASES, 'optim.base_lr': 1.0})
    [(epoch, joined)] = seen
    assert epoch < 5 and joined  # otherwise there was nothing to go back to
    assert not (folder / 'phase.ckpt').exists()


def test_polynormer_killed_in_its_second_phase_goes_back_to_the_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = {**PHASES, 'seed': 1}  # whose best epoch is one of the second phase
    whole = runs.run('Polynormer', tmp_path / 'whole', keys) / '1'
    write = state.write_checkpoint

    def interrupted(path: Path, content: dict[str, Any], **kwargs: Any) -> None:
        if path.name == 'last.ckpt' and content['epoch'] == 11:
            raise InterruptedError
        write(path, content, **kwargs)

    with monkeypatch.context() as patched, pytest.raises(InterruptedError):
        patched.setattr(state, 'write_checkpoint', interrupted)
        runs.run('Polynormer', tmp_path / 'cut', keys)
    checkpoints = tmp_path / 'cut' / CONFIG_NAME / '1' / 'ckpt'
    epochs = {n: torch.load(checkpoints / f'{n}.ckpt', weights_only=False)['epoch'] for n in ('best', 'last')}
    assert epochs['last'] == 5 and epochs['best'] > 5  # the best of the first phase is there no more
    cut = runs.run('Polynormer', tmp_path / 'cut', keys) / '1'
    assert runs.result(cut) == runs.result(whole)


def test_polynormer_that_was_never_evaluated_goes_on_from_where_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    last, seen = tmp_path / CONFIG_NAME / '0' / 'ckpt' / 'last.ckpt', []

    def compare_at_epoch_2(training: Training) -> None:
        if training.epoch == 2:
            before, model = torch.load(last, weights_only=False), training.model.model.model
            assert before['epoch'] == 1 and model._global
            seen.append(torch.equal(model.betas, before['state_dict']['model.model.betas']))

    before_each_step(monkeypatch, compare_at_epoch_2)
    keys = {'gt.local_epochs': 2, 'train.eval_period': 4, 'optim.max_epoch': 4, 'train.ckpt_period': 1}
    runs.run('Polynormer', tmp_path, keys)
    assert seen == [True]


@pytest.mark.parametrize('evaluation', ['full_batch', 'random_node'])
def test_interrupted_run_on_random_parts_ends_as_if_it_had_not_been(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, evaluation: str
) -> None:
    keys = {**PARTS, 'val.sampler': evaluation, 'gnn.dropout': 0.5}
    whole = runs.run('ResGCN', tmp_path / 'whole', keys) / '0'
    with interrupted_at(2, monkeypatch):
        runs.run('ResGCN', tmp_path / 'cut', keys)
    cut = runs.run('ResGCN', tmp_path / 'cut', keys) / '0'
    assert runs.result(cut) == runs.result(whole)


@pytest.fixture
def parts(graphgym_cfg: CfgNode) -> RandomParts:
    """A random graph of 31 nodes in parts of at most 10."""
    graphgym_cfg.train.batch_size = 10
    graphgym_cfg.val.sampler = 'random_node'
    graphgym_cfg.num_workers = 0
    edge_index = torch.randint(31, (2, 200), generator=torch.Generator().manual_seed(0))
    edge_index = edge_index[:, (edge_index[1] * 31 + edge_index[0]).argsort()]
    data = Data(x=torch.randn(31, 2), y=torch.arange(31) % 2, edge_index=edge_index, n_id=torch.arange(31))
    data.train_mask = torch.arange(31) < 1  # most parts have no training node
    return RandomParts(data)


def test_parts_hold_each_node_once_with_the_edges_among_them(parts: RandomParts) -> None:
    batches = list(parts.loader(TRAINING, 0))
    assert [batch.num_nodes for batch in batches] == [8, 8, 8, 7]
    assert sorted(torch.cat([batch.n_id for batch in batches]).tolist()) == list(range(31))
    for batch in batches:
        among, _ = subgraph(batch.n_id, parts.graph.edge_index)
        assert torch.equal(batch.n_id[batch.edge_index], among)
        assert torch.equal(batch.x, parts.graph.x[batch.n_id])
        position = batch.edge_index[1] * 31 + batch.edge_index[0]
        assert (position.diff() >= 0).all()


def test_parts_are_drawn_anew_for_each_epoch_and_purpose_and_repeat(parts: RandomParts) -> None:
    def first(loader: Any) -> list[int]:
        return next(iter(loader)).n_id.tolist()

    training, evaluation, report = (
        first(parts.loader(purpose, 0)) for purpose in (TRAINING, EVALUATION, REPORT)
    )
    assert first(parts.loader(TRAINING, 0)) == training
    other = first(parts.loader(TRAINING, 1))
    assert len({*map(tuple, (training, evaluation, report, other))}) == 4


def test_part_without_training_nodes_is_no_step(tmp_path: Path) -> None:
    # 26 training nodes in 32 parts.
    keys = {**PARTS, 'train.batch_size': 8, 'dataset.split': '[0.1, 0.5, 0.4]'}
    folder = runs.run('ResGCN', tmp_path, keys)
    assert all(0 < row['loss'] < 10 for row in runs.stats(folder / '0', 'train'))
    state = torch.load(folder / '0' / 'ckpt' / 'last.ckpt', weights_only=False)['state_dict']
    assert all(value.isfinite().all() for value in state.values() if isinstance(value, torch.Tensor))
