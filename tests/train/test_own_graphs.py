"""Graphs of a user's own, from one file, through both stages: other tasks, labels and features."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import runs
import torch

NUM_NODES = 60
MINI_BATCH = {'train.sampler': 'spex_neighbor', 'val.sampler': 'spex_neighbor', 'train.batch_size': 7}


def write_graph(path: Path, **changes: np.ndarray) -> dict[str, Any]:
    """A graph file; the keys of the config that read it."""
    rng = np.random.default_rng(0)
    arrays = {
        'edge_index': rng.integers(0, NUM_NODES - 1, (2, 150)),  # the last node has no edges
        'x': rng.normal(size=(NUM_NODES, 4)),
        'y': np.arange(NUM_NODES) % 2,
    }
    np.savez(path, **(arrays | changes))
    return {'dataset.format': 'file', 'dataset.path': path, 'dataset.name': 'mine', 'optim.max_epoch': 3}


def both_stages(
    out_dir: Path, changes: dict[str, Any], sampler: dict[str, Any] | None = None
) -> tuple[dict[str, Any], dict[str, Any], Path]:
    """Summaries of both stages, and the run folder of the second, which alone samples."""
    first = runs.run('estimator', out_dir, changes)
    second = runs.run('spexphormer', out_dir, {**changes, **(sampler or {})})
    return runs.summary(first / '0'), runs.summary(second / '0'), second / '0'


def losses(run_dir: Path) -> list[float]:
    return [row['loss'] for split in runs.SPLITS for row in runs.stats(run_dir, split)]


@pytest.mark.parametrize('sampler', [{}, MINI_BATCH], ids=['full batch', 'mini-batch'])
def test_several_classes(tmp_path: Path, sampler: dict[str, Any]) -> None:
    data = write_graph(tmp_path / 'mine.npz', y=np.arange(NUM_NODES) % 4)
    for summary in both_stages(tmp_path / 'out', {**data, 'metric_best': 'accuracy'}, sampler)[:2]:
        assert summary['metric'] == 'accuracy' and set(summary['test']) == {
            'accuracy',
            'f1',
            'accuracy_single_draw',
        }


@pytest.mark.parametrize('sampler', [{}, MINI_BATCH], ids=['full batch', 'mini-batch'])
@pytest.mark.parametrize('some_unknown', [False, True])
def test_several_tasks_of_which_some_labels_may_be_unknown(
    tmp_path: Path, sampler: dict[str, Any], some_unknown: bool
) -> None:
    y = np.stack([np.arange(NUM_NODES) // k % 2 for k in (1, 2, 3)], axis=1).astype(float)
    if some_unknown:
        y[::5, 1] = np.nan
        y[10] = np.nan  # no label at all: in no part of the split
    data = write_graph(tmp_path / 'mine.npz', y=y) | {'dataset.task_type': 'classification_multilabel'}
    *summaries, run_dir = both_stages(tmp_path / 'out', data, sampler)
    for summary in summaries:
        assert summary['metric'] == 'auc' and 0 <= summary['test']['auc'] <= 1
        assert summary['params'] > 0
    assert np.isfinite(losses(run_dir)).all()


def test_unknown_labels_of_a_task_do_not_matter_to_the_loss(graphgym_cfg: Any) -> None:
    from graphgps_ext.train.module import NodeClassifier
    from graphgps_ext.train.tally import Tally

    graphgym_cfg.dataset.task_type = 'classification_multilabel'
    graphgym_cfg.model.type = 'gnn'
    graphgym_cfg.dataset.task, graphgym_cfg.gnn.head = 'node', 'node'
    model = NodeClassifier(
        4, 3, dict.fromkeys(runs.SPLITS, torch.tensor([[0.0, 1.0, float('nan')], [1.0, 0.0, 1.0]]))
    )
    pred = torch.tensor([[0.5, -1.0, 2.0], [0.1, 0.7, -0.3]])
    true = torch.tensor([[1.0, 0.0, float('nan')], [float('nan'), 1.0, 0.0]])
    by_hand = [np.log1p(np.exp(-0.5)), np.log1p(np.exp(-1.0)), np.log1p(np.exp(-0.7)), np.log1p(np.exp(-0.3))]
    for known in (None, torch.tensor([0, 1, 4, 5])):  # looked for, or as a full batch says
        tally = Tally(model.metrics['train'])
        loss, labels = model.count(tally, 'train', pred, true, known)
        assert loss.item() == pytest.approx(np.mean(by_hand), abs=1e-6) and labels == 4
        assert model.count(tally, 'train', pred, torch.full((2, 3), torch.nan))[1] == 0  # counts for nothing
        assert tally.mean_loss().item() == pytest.approx(np.mean(by_hand), abs=1e-6)


def test_nodes_without_a_label_are_in_no_part_of_the_split(tmp_path: Path) -> None:
    y = np.arange(NUM_NODES) % 3 - 1
    data = write_graph(tmp_path / 'mine.npz', y=y)
    *_, run_dir = both_stages(tmp_path / 'out', data)
    assert np.isfinite(losses(run_dir)).all()


@pytest.mark.parametrize('sampler', [{}, MINI_BATCH], ids=['full batch', 'mini-batch'])
def test_edge_features(tmp_path: Path, sampler: dict[str, Any]) -> None:
    edge_attr = np.random.default_rng(1).normal(size=(150, 3))
    data = write_graph(tmp_path / 'mine.npz', edge_attr=edge_attr) | {'prep.edge_attr': True}
    *summaries, _ = both_stages(tmp_path / 'out', data, sampler)
    without = runs.run('spexphormer', tmp_path / 'out', {**data, 'prep.edge_attr': False, 'seed': 1})
    # A map of three features to 32 channels is what they cost.
    assert summaries[1]['params'] == runs.summary(without / '1')['params'] + 3 * 32
    before = (tmp_path / 'out' / 'minesweeper-grid-spexphormer' / '0' / 'summary.json').stat().st_mtime_ns
    both_stages(tmp_path / 'out', data, sampler)  # finished
    after = (tmp_path / 'out' / 'minesweeper-grid-spexphormer' / '0' / 'summary.json').stat().st_mtime_ns
    assert before == after


@pytest.mark.parametrize('sampler', [{}, MINI_BATCH], ids=['full batch', 'mini-batch'])
def test_isolated_nodes_and_nodes_without_in_edges(tmp_path: Path, sampler: dict[str, Any]) -> None:
    bare = {'prep.exp': False, 'prep.add_self_loops': False, 'prep.undirected': False, 'train.batch_size': 1}
    data = write_graph(tmp_path / 'mine.npz', edge_index=np.array([[0, 1, 2, 2], [1, 2, 3, 3]]))
    *_, run_dir = both_stages(tmp_path / 'out', {**data, **bare}, sampler)
    assert np.isfinite(losses(run_dir)).all()


def test_masks_of_the_file_are_the_standard_split(tmp_path: Path) -> None:
    part = np.stack([np.arange(NUM_NODES) % 3, np.arange(NUM_NODES) // 20], axis=1)
    names = ('train_mask', 'val_mask', 'test_mask')
    data = write_graph(tmp_path / 'mine.npz', **{name: part == i for i, name in enumerate(names)})
    splits = {'dataset.split_mode': 'standard', 'run_multiple_splits': [0, 1]}
    folder = runs.run('estimator', tmp_path / 'out', {**data, **splits})
    runs.run('spexphormer', tmp_path / 'out', {**data, **splits})
    first, second = (runs.result(folder / split) for split in ('0', '1'))
    assert first['layer_0.npy'] != second['layer_0.npy']
    missing = {**data, **splits, 'run_multiple_splits': [2]}
    message = runs.refusal('estimator', tmp_path / 'other', missing)
    assert 'dataset.split_index must be in 0..1 (this data set has 2 fixed splits), got 2' in message
