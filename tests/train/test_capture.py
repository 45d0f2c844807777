"""Steps as CUDA graphs: they compute what the same steps compute kernel by kernel, and replay nothing old.

None of it can be tried without a GPU.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import runs
import torch

from graphgps_ext.network.transformer import SparseTransformer
from graphgps_ext.train import fit
from graphgps_ext.train.capture import CapturedStep

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a GPU')]

GPU = {'accelerator': 'cuda', 'gt.attention_impl': 'auto', 'optim.max_epoch': 8, 'train.ckpt_period': 3}
UNIFORM = {'spex.strategy': 'uniform', 'spex.estimator': ''}
NO_DROPOUT = {'gt.dropout': 0.0, 'gnn.dropout': 0.0}
OWN: dict[str, tuple[str, dict[str, Any]]] = {
    'stage 1, annealed': ('estimator', {'spex.temperature_hold': 2, 'spex.temperature_decay': 0.7}),
    'stage 2': ('spexphormer', UNIFORM),
    'stage 2, kept draws': ('spexphormer', {**UNIFORM, 'spex.resample_every': 3, 'train.eval_period': 2}),
    'stage 2, local branch': (
        'spexphormer',
        {**UNIFORM, 'gt.local_gnn_type': 'sage', 'gt.local_edges': 'graph'},
    ),
    'stage 2, SGD': ('spexphormer', {**UNIFORM, 'optim.optimizer': 'sgd'}),
    'Exphormer': ('Exphormer', {}),
}
# One evaluation comes before the second phase: it begins from the same epoch whatever the last digits.
PHASES = {'gt.local_epochs': 4, 'train.eval_period': 4, 'optim.max_epoch': 20}
# Without atomic sums in their backward passes.
REPEATABLE = ('MLP', 'SGFormer')


@pytest.fixture
def graphs(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the steps that were recorded."""
    recorded: list[str] = []
    record = CapturedStep._record

    def noted(self: CapturedStep, batch: Any) -> bool:
        done = record(self, batch)
        recorded.extend([self.name] * done)
        return done

    monkeypatch.setattr(CapturedStep, '_record', noted)
    return recorded


def both_ways(stage: str, tmp_path: Path, changes: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Results with CUDA graphs and without."""
    found = []
    for name, on in (('graphs', True), ('kernels', False)):
        keys = {**GPU, **changes, 'train.cuda_graphs': on}
        found.append(runs.result(runs.run(stage, tmp_path / name, keys) / '0'))
    return found[0], found[1]


@pytest.mark.parametrize('precision', ['32-true', 'bf16-mixed', '64-true'])
@pytest.mark.parametrize('name', OWN)
def test_graphs_compute_what_kernels_compute(
    tmp_path: Path, graphs: list[str], name: str, precision: str
) -> None:
    stage, changes = OWN[name]
    captured, eager = both_ways(stage, tmp_path, {**changes, **NO_DROPOUT, 'train.precision': precision})
    assert sorted(graphs) == ['evaluation', 'training step']
    if precision == '64-true':  # by the plain-torch operator, whose sums on a GPU have no fixed order
        captured, eager = ({k: v for k, v in x.items() if 'layer_' not in k} for x in (captured, eager))
    assert captured == eager
    losses = [row['loss'] for row in captured['train']]
    assert len(set(losses)) == len(losses)  # every epoch is another one


def test_dropout_is_that_of_the_epoch(tmp_path: Path, graphs: list[str]) -> None:
    """Random numbers of a recording begin with the seed of the moment, as those of kernels do."""
    captured, eager = both_ways('spexphormer', tmp_path, {**UNIFORM, 'gt.dropout': 0.5})
    assert 'training step' in graphs
    assert captured == eager


@pytest.mark.parametrize('name', runs.PEERS)
def test_peers_are_recorded_too(tmp_path: Path, graphs: list[str], name: str) -> None:
    captured, eager = both_ways(name, tmp_path, {**NO_DROPOUT, **(PHASES if name == 'Polynormer' else {})})
    phases = 2 if name == 'Polynormer' else 1  # each is recorded
    assert sorted(graphs) == ['evaluation', *['training step'] * phases]
    if name in REPEATABLE:
        assert captured == eager
    for one, other in zip(captured['train'], eager['train'], strict=True):
        assert one['loss'] == pytest.approx(other['loss'], rel=2e-2)


def test_killed_run_goes_on_to_the_same_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = {**GPU, **UNIFORM, 'gt.dropout': 0.5, 'train.ckpt_period': 1}
    whole = runs.result(runs.run('spexphormer', tmp_path / 'whole', keys) / '0')
    step = fit.train_step

    def interrupted(training: Any, batch: Any, **kwargs: Any) -> None:
        if training.epoch == 6:
            raise InterruptedError
        step(training, batch, **kwargs)

    with monkeypatch.context() as patch, pytest.raises(InterruptedError):
        patch.setattr(fit, 'train_step', interrupted)
        runs.run('spexphormer', tmp_path / 'cut', keys)
    assert runs.result(runs.run('spexphormer', tmp_path / 'cut', keys) / '0') == whole


def test_tasks_without_labels(tmp_path: Path, graphs: list[str]) -> None:
    rng = np.random.default_rng(0)
    y = rng.integers(2, size=(120, 4)).astype(float)
    y[rng.random(y.shape) < 0.4] = np.nan
    x, edge_index = rng.normal(size=(120, 6)), rng.integers(120, size=(2, 300))
    np.savez(tmp_path / 'tasks.npz', x=x, y=y, edge_index=edge_index)
    data = {
        'dataset.format': 'file', 'dataset.path': tmp_path / 'tasks.npz',
        'dataset.task_type': 'classification_multilabel', 'metric_best': 'auto',
    }  # fmt: skip
    captured, eager = both_ways('spexphormer', tmp_path, {**UNIFORM, **NO_DROPOUT, **data})
    assert 'training step' in graphs
    assert captured == eager


def log_of(tmp_path: Path, stage: str) -> list[str]:
    """The log of the run with CUDA graphs."""
    folder = tmp_path / 'graphs' / runs.CONFIGS[stage].stem / '0'
    return (folder / 'logging.log').read_text().splitlines()


class Waiting(SparseTransformer):
    """Waits for the device in its forward pass."""

    def forward(self, batch: Any) -> Any:
        assert float(batch.x.abs().sum()) > 0
        return super().forward(batch)


class Unseen(SparseTransformer):
    """Waits for the device in a way that torch does not warn of."""

    def forward(self, batch: Any) -> Any:
        torch.cuda.synchronize()
        return super().forward(batch)


@pytest.mark.parametrize(
    ('network', 'reason'), [(Waiting, 'it waits for the device in '), (Unseen, 'recording failed (')]
)
def test_step_that_cannot_be_recorded_goes_on_and_says_why(
    tmp_path: Path,
    graphs: list[str],
    monkeypatch: pytest.MonkeyPatch,
    network: type[SparseTransformer],
    reason: str,
) -> None:
    from graphgps_ext.network import transformer

    build = transformer._build
    monkeypatch.setattr(transformer, '_build', lambda _, *args, **kwargs: build(network, *args, **kwargs))
    captured, eager = both_ways('Exphormer', tmp_path, {'gt.dropout': 0.5})
    assert not graphs
    assert captured == eager
    told = [line for line in log_of(tmp_path, 'Exphormer') if reason in line]
    assert len(told) == 2  # training and evaluation, once each
    assert 'which runs kernel by kernel' in told[0]


@pytest.mark.parametrize(
    ('changes', 'reason'),
    [
        ({'train.precision': '16-mixed'}, 'train.precision 16-mixed looks at the gradients'),
        ({'train.sampler': 'spex_neighbor', 'val.sampler': 'spex_neighbor', 'train.batch_size': 50}, ''),
    ],
)
def test_what_is_not_recorded_runs_as_before(
    tmp_path: Path, graphs: list[str], changes: dict[str, Any], reason: str
) -> None:
    captured, eager = both_ways('spexphormer', tmp_path, {**UNIFORM, **NO_DROPOUT, **changes})
    assert not graphs
    assert captured == eager
    told = [line for line in log_of(tmp_path, 'spexphormer') if 'no CUDA graph' in line]
    assert [reason in line for line in told] == [True] * bool(reason)


def test_batch_of_other_shapes_is_recorded_anew() -> None:
    from torch_geometric.data import Data

    calls = []

    def step(batch: Data) -> torch.Tensor:
        calls.append(len(batch.x))
        return batch.x.sum()[None] * 2

    captured = CapturedStep('sum', step)
    sums = []
    for size in (3, 3, 3, 3, 5, 5):
        sums.append(float(captured(Data(x=torch.full((size,), float(len(sums)), device='cuda')))))
    assert sums == [0.0, 6.0, 12.0, 18.0, 40.0, 50.0]
    assert calls == [3, 3, 3, 5]  # two as they come, and one for each recording
