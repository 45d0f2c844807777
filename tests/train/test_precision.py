"""Each `train.precision` in both stages: what computes in which type, and that it learns as float32 does."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import runs
import torch
from torch import Tensor

from graphgps_ext.network.transformer import Estimator
from graphgps_ext.train import fit, handover
from graphgps_ext.train.state import Training

MINI_BATCH = {'train.sampler': 'spex_neighbor', 'val.sampler': 'spex_neighbor', 'train.batch_size': 50}
EDGE_FEATURES = {'dataset.format': 'file', 'prep.edge_attr': True}
STAGES: dict[str, tuple[str, dict[str, Any]]] = {
    'stage 1': ('estimator', {}),
    'stage 2': ('spexphormer', {}),
    'mini-batches': ('spexphormer', MINI_BATCH),
    'auto': ('spexphormer', {'gt.attention_impl': 'auto'}),
    'baseline': ('GCN', {}),
    'edge features': ('Exphormer', EDGE_FEATURES),
    'sampled edge features': ('spexphormer', {**EDGE_FEATURES, 'spex.strategy': 'uniform'}),
    'random parts': ('GCN', {'train.sampler': 'random_node', 'train.batch_size': 100}),
}
MODELS = sorted(path.name for path in (runs.REPOSITORY / 'configs').iterdir() if path.name != 'search')
IN_BFLOAT16 = ('Exphormer', 'GATv2', 'GPS', 'LINKX', 'Polynormer', 'SGFormer', 'Spexphormer')
WEIGHTS = {'bf16-mixed': torch.float32, '16-mixed': torch.float32, '64-true': torch.float64}
AUTOCAST = {'bf16-mixed': torch.bfloat16, '16-mixed': torch.bfloat16, '64-true': None}  # on a CPU


@pytest.fixture(scope='module')
def single(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results of all of them in float32, of which that of stage 1 serves every stage 2."""
    out_dir = tmp_path_factory.mktemp('single')
    rng = np.random.default_rng(0)
    x, edge_index = rng.normal(size=(200, 5)), rng.integers(200, size=(2, 600))
    edge_attr = rng.normal(size=(600, 3))
    np.savez(out_dir / 'graph.npz', x=x, y=x[:, 0] > 0, edge_index=edge_index, edge_attr=edge_attr)
    for name, (stage, changes) in STAGES.items():
        runs.run(stage, out_dir / name, keys(out_dir, name) | changes)
    return out_dir


def keys(single: Path, name: str) -> dict[str, Any]:
    estimator = {'spex.estimator': single / 'stage 1' / runs.CONFIGS['estimator'].stem}
    own = estimator if STAGES[name][0] == 'spexphormer' else {}
    return {'round': 12, 'dataset.path': single / 'graph.npz', **own}


def run_dir(out_dir: Path, name: str) -> Path:
    return out_dir / runs.CONFIGS[STAGES[name][0]].stem / '0'


@pytest.mark.filterwarnings('ignore:.*AMP with fp16 is not supported on CPU.*')
@pytest.mark.parametrize('precision', WEIGHTS)
@pytest.mark.parametrize('name', STAGES)
def test_each_precision_trains_each_kind_of_run(
    single: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, precision: str
) -> None:
    seen = set()
    step = fit.train_step

    def train_step(training: Training, batch: Any, **kwargs: Any) -> None:
        with training.forward_context():
            dtype = torch.get_autocast_dtype('cpu') if torch.is_autocast_enabled('cpu') else None
            seen.add((dtype, torch.is_autocast_cache_enabled() and dtype is not None))
        step(training, batch, **kwargs)

    monkeypatch.setattr(fit, 'train_step', train_step)
    stage, changes = STAGES[name]
    runs.run(stage, tmp_path, {**keys(single, name), **changes, 'train.precision': precision})
    assert seen == {(AUTOCAST[precision], False)}  # a cache of casts would not outlive a CUDA graph
    found, expected = run_dir(tmp_path, name), run_dir(single / name, name)
    state = torch.load(found / 'ckpt' / 'best.ckpt', weights_only=False)['state_dict']
    types = {value.dtype for value in state.values() if torch.is_tensor(value) and value.is_floating_point()}
    assert types == {WEIGHTS[precision]}
    close = 1e-4 if precision == '64-true' else 0.05  # bfloat16 has eight bits
    losses, wanted = ([row['loss'] for row in runs.stats(folder, 'train')] for folder in (found, expected))
    assert losses == pytest.approx(wanted, abs=close)
    assert precision == '64-true' or losses != wanted
    if stage == 'estimator':
        assert np.load(found / 'scores' / 'layer_0.npy').dtype == np.float32


def model_config(name: str) -> Path:
    """The config of a model on the grid, or on Minesweeper's graph for one that has none there."""
    folder = runs.REPOSITORY / 'configs' / name
    found = sorted(folder.glob('minesweeper-grid-*.yaml')) or sorted(folder.glob('minesweeper-*.yaml'))
    return next(file for file in found if 'stimator' not in file.stem)


@pytest.mark.parametrize(
    ('name', 'precision'),
    [(name, '64-true') for name in MODELS] + [(name, 'bf16-mixed') for name in IN_BFLOAT16],
)
def test_report_is_computed_as_the_chosen_epoch_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, precision: str
) -> None:
    """Each shipped model: the best epoch's own validation metric is that of its report."""
    monkeypatch.setitem(runs.CONFIGS, name, model_config(name))
    on_grid = {'dataset.format': 'grid', 'dataset.split_mode': 'random'}
    if name.startswith('Spexphormer'):
        # As many in-neighbours as any node has: nothing is left to draw.
        on_grid |= {'spex.strategy': 'uniform', 'spex.estimator': '', 'spex.score_layers': []}
        on_grid |= {'spex.layer_degrees': [32], 'spex.eval_draws': 1, 'prep.num_virt_node': 0}
    changes = {**on_grid, 'optim.max_epoch': 2, 'train.precision': precision}
    folder = runs.run(name, tmp_path, changes) / '0'
    summary = runs.summary(folder)
    [row] = [row for row in runs.stats(folder, 'val') if row['epoch'] == summary['best_epoch']]
    for metric in ('accuracy', 'auc'):
        assert summary['val'][metric] == row[metric]


def test_attention_scores_are_those_of_the_precision_of_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = set()
    scores = Estimator.attention_scores

    def attention_scores(self: Estimator, batch: Any) -> Iterator[Tensor]:
        for layer in scores(self, batch):
            seen.add(torch.is_autocast_enabled('cpu'))
            yield layer
            seen.add(torch.is_autocast_enabled('cpu'))

    save = handover.scores.save

    def saved(path: Path, graph: Any, layers: Iterator[Tensor], *args: Any, **kwargs: Any) -> None:
        layers = [(layer, torch.is_autocast_enabled('cpu')) for layer in layers]
        assert not any(enabled for _, enabled in layers)  # the writer works in its own precision
        save(path, graph, [layer for layer, _ in layers], *args, **kwargs)

    monkeypatch.setattr(Estimator, 'attention_scores', attention_scores)
    monkeypatch.setattr(handover.scores, 'save', saved)
    runs.run('estimator', tmp_path, {'train.precision': 'bf16-mixed'})
    assert seen == {True}


def test_a_precision_that_there_is_not_is_refused(tmp_path: Path) -> None:
    message = runs.refusal('estimator', tmp_path, {'train.precision': '8-bit'})
    assert "train.precision needs one of 32-true, bf16-mixed, 16-mixed, 64-true, got '8-bit'" in message
