"""A result belongs to what it was computed from: its config, data and attention scores, wherever they lie."""

from __future__ import annotations

import functools
import shutil
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import runs
from test_resume import die_in_training_step

NUM_NODES = 40


def write_graph(path: Path, seed: int = 0, **changes: Any) -> Path:
    """A graph file of 40 nodes whose edges and masks do not depend on the seed."""
    rng, fixed = np.random.default_rng(seed), np.random.default_rng(7)
    part = np.arange(NUM_NODES) % 4
    arrays = {
        'edge_index': fixed.integers(0, NUM_NODES, (2, 100)),
        'x': rng.normal(size=(NUM_NODES, 4)).astype(np.float32),
        'y': rng.permutation(np.arange(NUM_NODES) // 4 % 2),
        'train_mask': part < 2,
        'val_mask': part == 2,
        'test_mask': part == 3,
    }
    path.parent.mkdir(exist_ok=True)
    np.savez(path, **(arrays | changes))
    return path


def of_file(path: Path | str, **changes: Any) -> dict[str, Any]:
    """The keys that read it."""
    keys = {'dataset.format': 'file', 'dataset.path': path, 'dataset.split_mode': 'standard'}
    return {**keys, 'train.ckpt_period': 1, 'metric_best': 'accuracy', **changes}


def killed(stage: str, out_dir: Path, changes: dict[str, Any]) -> None:
    """A run that ends in its third epoch."""
    code, output = runs.run_elsewhere(stage, out_dir, changes, functools.partial(die_in_training_step, 2))
    assert code == -signal.SIGKILL, output


CHANGED = {
    'features': {'x': np.ones((NUM_NODES, 4), np.float32)},
    'labels': {'y': np.arange(NUM_NODES) // 8 % 2},
    'edges': {'edge_index': np.stack([np.arange(NUM_NODES), np.arange(NUM_NODES)[::-1]])},
    'masks': {'train_mask': np.arange(NUM_NODES) % 4 < 1},
}


@pytest.mark.parametrize('part', CHANGED)
def test_finished_run_of_other_data_is_refused(tmp_path: Path, part: str) -> None:
    data = write_graph(tmp_path / 'toy.npz')
    folder = runs.run('estimator', tmp_path / 'out', of_file(data))
    write_graph(data, **CHANGED[part])
    message = runs.refusal('estimator', tmp_path / 'out', of_file(data))
    assert message.startswith(
        f'error: {folder / "0"} holds results of another config or of other data, '
        'by its config.yaml and inputs.json:'
    )
    assert f'  {part} have changed: fingerprint ' in message and '(key dataset.path' in message
    assert message.endswith('train.overwrite True to delete them.')
    runs.run('estimator', tmp_path / 'out', of_file(data, **{'train.overwrite': True}))
    fresh = runs.run('estimator', tmp_path / 'fresh', of_file(data))
    assert runs.result(folder / '0') == runs.result(fresh / '0')


def test_killed_run_does_not_go_on_with_other_data(tmp_path: Path) -> None:
    data = write_graph(tmp_path / 'toy.npz')
    killed('estimator', tmp_path / 'out', of_file(data))
    write_graph(data, seed=1)
    message = runs.refusal('estimator', tmp_path / 'out', of_file(data))
    assert '  features have changed' in message and '  labels have changed' in message
    write_graph(data, seed=0)  # as it was, in another file
    folder = runs.run('estimator', tmp_path / 'out', of_file(data))
    fresh = runs.run('estimator', tmp_path / 'fresh', of_file(data))
    assert runs.result(folder / '0') == runs.result(fresh / '0')


def test_scores_of_other_features_or_labels_are_refused(tmp_path: Path) -> None:
    data = write_graph(tmp_path / 'toy.npz')
    first = runs.run('estimator', tmp_path / 'first', of_file(data))
    write_graph(data, seed=1)
    message = runs.refusal('spexphormer', tmp_path / 'out', of_file(data, **{'spex.estimator': first}))
    assert 'features_fingerprint: wanted' in message and 'labels_fingerprint: wanted' in message
    assert runs.files_in(tmp_path / 'out') == []


def test_where_data_and_results_lie_does_not_matter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    data = write_graph(tmp_path / 'here' / 'toy.npz')
    first = runs.run('estimator', Path('first'), of_file('here/toy.npz'))
    second = runs.run('spexphormer', Path('second'), of_file('here/toy.npz', **{'spex.estimator': first}))
    before = {path: path.stat().st_mtime_ns for path in Path('second').rglob('0/*')}
    # Another way to the same.
    absolute = of_file(data, **{'spex.estimator': tmp_path / first})
    assert runs.run('spexphormer', Path('second'), absolute) == second
    shutil.move('here', 'there')
    shutil.move('first', 'third')
    moved = of_file('there/toy.npz', **{'spex.estimator': Path('third') / first.name})
    assert runs.run('spexphormer', Path('second'), moved) == second
    assert {path: path.stat().st_mtime_ns for path in Path('second').rglob('0/*')} == before


def test_finished_run_is_read_where_neither_data_nor_scores_are(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = write_graph(tmp_path / 'toy.npz')
    first = runs.run('estimator', tmp_path / 'first', of_file(data))
    keys = of_file(data, **{'spex.estimator': first})
    second = runs.run('spexphormer', tmp_path / 'out', keys)
    data.unlink()
    shutil.rmtree(first)
    capsys.readouterr()
    runs.run('spexphormer', tmp_path / 'out', keys)
    told = capsys.readouterr().err
    assert f'{second / "0"} is finished' in told
    assert 'not compared with the data' in told and 'not compared with the attention scores' in told


@pytest.mark.parametrize('finished', [False, True])
def test_stage_2_does_not_go_on_with_other_scores(tmp_path: Path, finished: bool) -> None:
    first = runs.run('estimator', tmp_path / 'first')
    keys = {'spex.estimator': first, 'train.ckpt_period': 1}
    if finished:
        runs.run('spexphormer', tmp_path / 'out', keys)
    else:
        killed('spexphormer', tmp_path / 'out', keys)
    shutil.rmtree(first)
    runs.run('estimator', tmp_path / 'first', {'seed': 5})
    (first / '5').rename(first / '0')
    message = runs.refusal('spexphormer', tmp_path / 'out', keys)
    assert '  scores have changed: fingerprint ' in message and '(key spex.estimator)' in message
    shutil.rmtree(first)
    runs.run('estimator', tmp_path / 'first')  # trained again to the same scores
    folder = runs.run('spexphormer', tmp_path / 'out', keys)
    fresh = runs.run('spexphormer', tmp_path / 'fresh', keys)
    assert runs.result(folder / '0') == runs.result(fresh / '0')
