"""Bad input to `train`: one clear message, exit code 1, nothing half-written."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import runs

NUM_NODES = 30


@pytest.fixture(scope='module')
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The result folder of a finished stage 1; not to be changed."""
    return runs.run('estimator', tmp_path_factory.mktemp('trained'))


@pytest.fixture
def estimator(trained: Path, tmp_path: Path) -> Path:
    """A copy of it, to be damaged."""
    return shutil.copytree(trained, tmp_path / 'estimator')


def refused(out_dir: Path, stage: str = 'spexphormer', changes: dict[str, Any] | None = None) -> str:
    """The one message of a refused run, of which nothing is left."""
    before = runs.files_in(out_dir)
    message = runs.refusal(stage, out_dir, changes)
    assert runs.files_in(out_dir) == before
    assert message.startswith('error: ')
    return message.removeprefix('error: ')


def test_user_gets_a_message_on_stderr_and_exit_code_one(tmp_path: Path) -> None:
    command = [sys.executable, *runs.arguments('estimator', tmp_path, {'gt.layer': 3})]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1 and done.stdout == ''
    assert done.stderr.splitlines() == [
        f'error: {runs.CONFIGS["estimator"]} cannot be loaded:',
        '  - gt.layer is not a config key; the nearest is gt.layers',
    ]
    assert runs.files_in(tmp_path) == []


# --- the config ---


def test_layer_degrees_of_the_wrong_length_are_refused(tmp_path: Path) -> None:
    message = refused(tmp_path, changes={'spex.layer_degrees': [4, 3, 2]})
    assert 'spex.layer_degrees needs 2 entries, one per layer (gt.layers), got 3' in message


def test_width_not_divisible_by_heads_is_refused(tmp_path: Path) -> None:
    message = refused(tmp_path, changes={'gt.n_heads': 5})
    assert 'gt.dim_hidden needs to be a multiple of gt.n_heads, got 32 and 5' in message


def test_unknown_format_is_refused_with_those_there_are(tmp_path: Path) -> None:
    message = refused(tmp_path, 'estimator', {'dataset.format': 'PyG-Actr'})
    assert message.startswith('dataset.format needs one of PyG-Actor, ') and message.endswith("'PyG-Actr'")


def test_metric_that_no_task_has_is_refused_before_data_are_read(tmp_path: Path) -> None:
    message = refused(tmp_path, 'estimator', {'metric_best': 'mae', 'dataset.format': 'file'})
    assert message == (
        'this config cannot be run:\n'
        "  - metric_best needs one of auto, auc, accuracy, f1, precision, recall, got 'mae'"
    )


@pytest.mark.parametrize('repeat', ['0', '-1'])
def test_repeat_needs_a_run(tmp_path: Path, repeat: str) -> None:
    message = runs.refusal('estimator', tmp_path, None, '--repeat', repeat)
    assert message == f'error: --repeat needs to be at least 1, got {repeat}'


def test_last_seed_of_several_has_a_limit_too(tmp_path: Path) -> None:
    message = runs.refusal('estimator', tmp_path, {'seed': 2**32 - 1}, '--repeat', '2')
    assert message == 'error: the last seed, seed + --repeat - 1, needs to be at most 4294967295'


def test_repeat_and_several_splits_are_refused_together(tmp_path: Path) -> None:
    message = runs.refusal('estimator', tmp_path, {'run_multiple_splits': [0, 1]}, '--repeat', '2')
    assert '--repeat needs to be 1 with run_multiple_splits' in message


# --- the data ---


def test_missing_data_set_without_network_says_which_file_goes_where(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreachable(*args: object, **kwargs: object) -> None:
        raise OSError('Network is unreachable')

    monkeypatch.setattr('urllib.request.urlopen', unreachable)
    changes = {
        'dataset.format': 'PyG-HeterophilousGraphDataset',
        'dataset.dir': tmp_path / 'data',
        'dataset.split_mode': 'standard',
    }
    message = refused(tmp_path / 'out', 'estimator', changes)
    assert str(tmp_path / 'data' / 'HeterophilousGraphDataset' / 'minesweeper' / 'raw') in message
    assert 'minesweeper.npz' in message


def write_graph(path: Path, **changes: np.ndarray) -> dict[str, Any]:
    """A graph file of 30 nodes; the keys of the config that read it."""
    rng = np.random.default_rng(0)
    part = np.arange(NUM_NODES) % 3
    arrays = {
        'edge_index': rng.integers(0, NUM_NODES, (2, 80)),
        'x': rng.normal(size=(NUM_NODES, 4)),
        'y': np.arange(NUM_NODES) % 2,
        'train_mask': part == 0,
        'val_mask': part == 1,
        'test_mask': part == 2,
    }
    np.savez(path, **(arrays | changes))
    return {'dataset.format': 'file', 'dataset.path': path, 'dataset.split_mode': 'standard'}


LABELS = np.arange(NUM_NODES) % 2


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'y': LABELS - 5}, 'y needs classes from 0, or -1 for no label, got -5'),
        ({'y': LABELS * 3}, 'y needs classes from 0 without gaps, but of 0..3 no node has 1, 2'),
        ({'y': LABELS * 0}, 'y needs at least two classes, got [0]'),
        ({'y': LABELS + 0.5}, 'y [N] needs whole numbers (class ids), got fractions'),
        ({'y': LABELS[:-1]}, 'y needs shape [30] or [30, tasks] (x has 30 rows), got [29]'),
        ({'val_mask': LABELS > 1}, 'the val mask is empty'),
        ({'val_mask': LABELS == 0}, 'the train and val masks share 5 nodes'),
        ({'edge_index': np.array([[0, 40], [1, 2]])}, 'edge_index needs node ids in 0..29'),
    ],
)
def test_data_that_cannot_be_learned_from_are_refused(
    tmp_path: Path, changes: dict[str, np.ndarray], message: str
) -> None:
    data = write_graph(tmp_path / 'toy.npz', **changes)
    assert message in refused(tmp_path / 'out', 'estimator', data)


@pytest.mark.parametrize('stage', ['estimator', 'Exphormer'])
def test_labels_and_task_that_do_not_fit_are_refused(tmp_path: Path, stage: str) -> None:
    several = np.stack([LABELS, LABELS, 1 - LABELS], axis=1)
    message = refused(tmp_path / 'out', stage, write_graph(tmp_path / 'toy.npz', y=several))
    assert message.startswith('dataset.task_type needs to be classification_multilabel')
    task = {'dataset.task_type': 'classification_multilabel'}
    message = refused(tmp_path / 'out', stage, write_graph(tmp_path / 'toy.npz') | task)
    assert message.startswith('dataset.task_type needs to be classification ')


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'dataset.split': [0.9, 0.1, 0.1]}, 'needs three positive ratios (train, val, test) that sum to 1'),
        ({'dataset.split': [0.5, 0.5]}, 'needs three positive ratios (train, val, test) that sum to 1'),
        ({'dataset.split': [0.999, 0.0005, 0.0005]}, 'the val mask is empty'),
        ({'dataset.split_mode': 'standard'}, 'has no split of its own (set dataset.split_mode'),
        ({'prep.edge_attr': True}, 'has no edge features (set prep.edge_attr False)'),
    ],
)
def test_splits_and_features_that_cannot_be_had_are_refused(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    assert message in refused(tmp_path, 'estimator', changes)


# --- the attention scores ---


@pytest.mark.parametrize('named', ['absent', 'some/where'])
def test_missing_scores_are_refused(tmp_path: Path, named: str) -> None:
    message = refused(tmp_path, changes={'spex.estimator': named})
    folder = tmp_path / named if named == 'absent' else named
    assert message == f'no attention scores in {folder}: run stage 1 first (key spex.estimator)'


@pytest.mark.parametrize(
    ('changes', 'differences'),
    [
        ({'prep.exp_seed': 1}, ['expander_seed: wanted 1, got 0 (key prep.exp_seed)']),
        ({'prep.exp_deg': 3}, ['expander_degree: wanted 3, got 2 (key prep.exp_deg)']),
        (
            {'prep.exp_algorithm': 'hamiltonian'},
            ['expander_algorithm: wanted hamiltonian, got permutation (key prep.exp_algorithm)'],
        ),
        ({'prep.add_self_loops': False}, ['(key dataset.name, dataset.path or prep.*)']),
        (
            {'gt.layers': 3, 'spex.layer_degrees': [4, 3, 2]},
            ['num_layers: wanted 3, got 2 (key gt.layers, or spex.allow_fewer_layers to use the first'],
        ),
        ({'gt.layers': 1, 'spex.layer_degrees': [4]}, ['num_layers: wanted 1, got 2 (key gt.layers']),
        (
            {'prep.exp_seed': 1, 'gt.layers': 1, 'spex.layer_degrees': [4]},
            ['expander_seed: wanted 1, got 0', 'num_layers: wanted 1, got 2', 'graph_fingerprint: wanted '],
        ),
    ],
)
def test_scores_of_another_graph_or_depth_are_refused_and_each_difference_is_named(
    tmp_path: Path, trained: Path, changes: dict[str, Any], differences: list[str]
) -> None:
    message = refused(tmp_path, changes={'spex.estimator': trained, **changes})
    assert message.startswith(f'the scores in {trained}/0/scores were made for something else:')
    for difference in differences:
        assert difference in message


@pytest.mark.parametrize('changes', [{'dataset.split_seed': 1}, {'dataset.split': [0.6, 0.2, 0.2]}])
def test_scores_of_another_split_are_refused(tmp_path: Path, trained: Path, changes: dict[str, Any]) -> None:
    message = refused(tmp_path, changes={'spex.estimator': trained, **changes})
    assert '  split_fingerprint: wanted ' in message
    assert 'got random 0.5/0.25/0.25, split_seed 0 (key dataset.split_mode, dataset.split_seed' in message


def test_scores_of_another_data_set_are_refused(tmp_path: Path, trained: Path) -> None:
    # As many nodes on the same edges with the same split; the mines are others.
    message = refused(tmp_path, changes={'spex.estimator': trained, 'dataset.grid_seed': 1})
    *fingerprints, name, _ = message.splitlines()[1:]
    assert [line.partition(':')[0] for line in fingerprints] == [
        '  features_fingerprint',
        '  labels_fingerprint',
    ]
    assert name == (
        '  dataset: wanted grid/minesweeper, side 16, seed 1, got grid/minesweeper, side 16, seed 0 '
        '(key dataset.name)'
    )
    message = refused(tmp_path, changes={'spex.estimator': trained, 'dataset.grid_side': 15})
    assert '  dataset: wanted' in message and '  graph_fingerprint: wanted' in message


def test_scores_of_an_absent_seed_are_refused(tmp_path: Path, trained: Path, estimator: Path) -> None:
    message = refused(tmp_path, changes={'spex.estimator': trained, 'spex.estimator_seed': 3})
    assert '  seed: wanted 3, got 0 (key spex.estimator_seed)' in message
    shutil.copytree(estimator / '0', estimator / '1')
    message = refused(tmp_path, changes={'spex.estimator': estimator, 'spex.estimator_seed': 3})
    assert 'for seed 3 on this split (key spex.estimator_seed); there are:' in message


def truncate(scores: Path) -> str:
    file = scores / 'layer_1.npy'
    file.write_bytes(file.read_bytes()[:-10])
    return 'layer_1.npy is truncated: wanted '


def remove_layer(scores: Path) -> str:
    (scores / 'layer_0.npy').unlink()
    return 'layer_0.npy is missing'


def tear_manifest(scores: Path) -> str:
    file = scores / 'manifest.json'
    file.write_text(file.read_text()[:100])
    return 'manifest.json is damaged'


def change_graph(scores: Path) -> str:
    source = np.load(scores / 'source.npy')
    source[[0, 1]] = source[[1, 0]]
    np.save(scores / 'source.npy', source)
    return 'source.npy is damaged: its checksum is not the one in the manifest'


def swap_layers(scores: Path) -> str:
    (scores / 'layer_0.npy').rename(scores / 'other.npy')
    (scores / 'layer_1.npy').rename(scores / 'layer_0.npy')
    (scores / 'other.npy').rename(scores / 'layer_1.npy')
    return 'layer_0.npy is damaged: its checksum is not the one in the manifest'


@pytest.mark.parametrize('damage', [truncate, remove_layer, tear_manifest, change_graph, swap_layers])
def test_damaged_scores_are_refused(tmp_path: Path, estimator: Path, damage: Callable[[Path], str]) -> None:
    expected = damage(estimator / '0' / 'scores')
    message = refused(tmp_path, changes={'spex.estimator': estimator})
    assert expected in message and 'run stage 1 again' in message


def test_first_layers_of_a_deeper_estimator_are_used_when_asked_for(tmp_path: Path, trained: Path) -> None:
    one = {'gt.layers': 1, 'spex.layer_degrees': [4], 'spex.allow_fewer_layers': True}
    result = runs.run('spexphormer', tmp_path, {'spex.estimator': trained, **one})
    assert json.loads((result / '0' / 'summary.json').read_text())['epochs'] == 4


@pytest.mark.parametrize(
    ('changes', 'needs'),
    [
        (
            {'dataset.node_encoder': False},
            'dataset.node_encoder True (dataset.node_encoder_name spex_linear_node)',
        ),
        (
            {'dataset.edge_encoder': False, 'dataset.node_encoder': False, 'gnn.layers_pre_mp': 1},
            'dataset.edge_encoder True (dataset.edge_encoder_name spex_expander_edge)',
        ),
    ],
)
def test_encoder_that_a_network_cannot_do_without_is_named(
    tmp_path: Path, changes: dict[str, object], needs: str
) -> None:
    message = refused(tmp_path, 'Exphormer', changes)
    assert message == f'model.type spex_exphormer needs {needs}, got False'
