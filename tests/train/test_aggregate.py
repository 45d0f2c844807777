"""The mean over the runs of a folder: which runs it is over, and what is said of the others."""

from __future__ import annotations

import json
import shutil
import statistics
from pathlib import Path
from typing import Any

import pytest
import runs
import yaml
from damages import DAMAGES

from graphgps_ext.benchmark.collect import collect
from graphgps_ext.benchmark.compare import summarize
from graphgps_ext.errors import UserError
from graphgps_ext.train.aggregate import aggregate
from graphgps_ext.train.results import finish as mark_finished

CONFIG: dict[str, Any] = {
    'dataset': {'name': 'actor', 'split_mode': 'standard', 'split_index': 0, 'split_seed': 0},
    'train': {'sampler': 'full_batch', 'batch_size': 16},
    'optim': {'base_lr': 0.1},
}
INPUTS = {'features': 'f', 'edges': 'e', 'labels': 'l', 'split': 's'}


def finished(folder: Path, test: float = 0.5, *, seed: int = 0, split: int = 0, **changes: Any) -> Path:
    """What a finished run leaves. `changes`: keys of its config, by group, and `inputs` or `summary`."""
    folder.mkdir(parents=True)
    inputs = {**INPUTS, 'split': f's{split}', **changes.pop('inputs', {})}
    metrics = {'accuracy': test, 'f1': test / 2}
    summary = {'metric': 'accuracy', 'best_epoch': seed, 'epochs': 9, **dict.fromkeys(runs.SPLITS, metrics)}
    summary |= {'versions': {'torch': '2.1', 'graphgps_ext': '0.2'}, **changes.pop('summary', {})}
    config = {**CONFIG, 'seed': seed, **changes}
    config['dataset'] = {**config['dataset'], 'split_index': split}
    (folder / 'config.yaml').write_text(yaml.safe_dump(config))
    (folder / 'inputs.json').write_text(json.dumps(inputs))
    (folder / 'summary.json').write_text(json.dumps(summary))
    mark_finished(folder)
    return folder


def best(folder: Path) -> dict[str, float]:
    return json.loads((folder / 'agg' / 'test' / 'best.json').read_text())


@pytest.mark.slow
def test_runs_of_other_configs_in_one_folder_are_in_no_mean(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = runs.run('Exphormer', tmp_path, None, '--repeat', '2')
    alone = capsys.readouterr().out.splitlines()
    values = [runs.summary(folder / seed)['test']['auc'] for seed in '01']
    mean, deviation = statistics.fmean(values), statistics.pstdev(values)
    assert alone == [f'{folder}: test auc {mean:.4f} ± {deviation:.4f} over 2 runs']

    runs.run(
        'Exphormer', tmp_path, {'seed': 2, 'optim.base_lr': 0.3, 'gnn.layers_mp': 4, 'optim.max_epoch': 1}
    )
    one = runs.summary(folder / '2')['test']['auc']
    differing = (
        'gnn.layers_mp 2 there, 4 here; optim.base_lr 0.01 there, 0.3 here; optim.max_epoch 4 there, 1 here'
    )
    assert capsys.readouterr().out.splitlines() == [
        f'left out of the mean: 0 ({differing}), 1 ({differing})',
        f'{folder}: test auc {one:.4f} over 1 run',
    ]
    assert best(folder)['runs'] == 1 and best(folder)['auc'] == one

    runs.run('Exphormer', tmp_path, {'seed': 3, 'dataset.grid_side': 14})
    left, told = capsys.readouterr().out.splitlines()
    assert '0 (dataset.grid_side 16 there, 14 here' in left and '2 (dataset.grid_side 16 there' in left
    assert told.endswith('over 1 run')

    runs.run('Exphormer', tmp_path, None, '--repeat', '2')  # both are finished
    left, told = capsys.readouterr().out.splitlines()
    assert [told] == alone and best(folder)['auc'] == pytest.approx(mean, abs=1e-6)
    assert '2 (gnn.layers_mp 4 there, 2 here' in left and '3 (dataset.grid_side 14 there, 16 here' in left

    frame, notes = collect([tmp_path])
    table = summarize(frame).set_index('runs').loc[2]
    assert (table['mean'], table['std']) == (pytest.approx(mean), pytest.approx(deviation))
    assert len(summarize(frame)) == 3
    keys = 'dataset.grid_side 16, gnn.layers_mp 2, optim.base_lr 0.01, optim.max_epoch 4'
    assert table['model'].startswith(f'Exphormer ({keys}')
    assert notes[0].startswith('minesweeper-grid/Exphormer: runs that differ in more than seed and split are')


def test_mean_is_over_seeds_and_splits(tmp_path: Path) -> None:
    here = finished(tmp_path / '0', 0.4)
    finished(tmp_path / '1', 0.5, seed=1)
    finished(tmp_path / '2', 0.9, split=1, inputs={'scores': 'of that split'})
    content, lines = aggregate(here)
    assert lines == [] and content['test'] == best(tmp_path)
    assert best(tmp_path) == {
        **{'runs': 3, 'epoch': 0.333333, 'epoch_std': 0.471405},
        **{'accuracy': 0.6, 'accuracy_std': 0.216025, 'f1': 0.3, 'f1_std': 0.108012},
    }


@pytest.mark.parametrize(
    ('changes', 'told'),
    [
        ({'optim': {'base_lr': 0.3}}, 'optim.base_lr 0.3 there, 0.1 here'),
        ({'gnn': {'act': 'relu'}}, "gnn.act 'relu' there, None here"),
        ({'inputs': {'features': 'g', 'labels': 'm'}}, 'other features, labels'),
        ({'inputs': {'edge_features': 'g'}}, 'other edge features'),
        ({'inputs': {'masks': 'g'}}, 'other masks'),
        ({'inputs': {'estimator': 'g'}}, 'other estimator'),
        (
            {'summary': {'metric': 'auc', **{key: {'auc': 0.9} for key in runs.SPLITS}}},
            "metric 'auc' there, 'accuracy' here",
        ),
    ],
)
def test_run_of_something_else_is_left_out_and_named(
    tmp_path: Path, changes: dict[str, Any], told: str
) -> None:
    here = finished(tmp_path / '0', 0.4)
    finished(tmp_path / '1', 0.6, seed=1)
    finished(tmp_path / 'other', 0.9, seed=2, **changes)
    content, lines = aggregate(here)
    assert lines == [f'left out of the mean: other ({told})']
    assert (content['test']['runs'], content['test']['accuracy']) == (2, 0.5)


def test_seed_and_split_count_once(tmp_path: Path) -> None:
    finished(tmp_path / '0', 0.4)
    here = finished(tmp_path / '1', 0.6, seed=1)
    shutil.copytree(here, tmp_path / '1-copy')
    shutil.copytree(tmp_path / '0', tmp_path / 'copy')
    content, lines = aggregate(here)
    assert (content['test']['runs'], content['test']['accuracy']) == (2, 0.5)
    assert lines == ['left out of the mean: 1-copy (seed 1 and split 0 as 1), copy (seed 0 and split 0 as 0)']


def test_metric_that_a_run_does_not_have_is_in_no_mean(tmp_path: Path) -> None:
    here = finished(tmp_path / '0', 0.4)
    finished(tmp_path / '1', 0.6, seed=1, summary={'test': {'accuracy': 0.6, 'f1': None}})
    assert 'f1' not in aggregate(here)[0]['test'] and aggregate(here)[0]['val']['f1'] == 0.25


def test_versions_that_differ_are_said(tmp_path: Path) -> None:
    here = finished(tmp_path / '0')
    finished(tmp_path / '1', seed=1, summary={'versions': {'torch': '2.2', 'graphgps_ext': '0.2'}})
    content, lines = aggregate(here)
    assert content['test']['runs'] == 2
    assert lines == ['the mean is over runs with several versions of torch: 2.1 (0), 2.2 (1)']


@pytest.mark.parametrize('damage', DAMAGES)
@pytest.mark.parametrize('file', ['config.yaml', 'summary.json'])
def test_damaged_run_is_left_out_and_named(tmp_path: Path, file: str, damage: str) -> None:
    here = finished(tmp_path / '0', 0.4)
    DAMAGES[damage](finished(tmp_path / '1', 0.6, seed=1) / file)
    content, (line,) = aggregate(here)
    assert content['test']['runs'] == 1
    assert line.startswith(f'left out of the mean: 1 ({tmp_path / "1" / file} is ')
    with pytest.raises(UserError, match=file):
        aggregate(tmp_path / '1')


@pytest.mark.parametrize(
    ('changes', 'told'),
    [
        ({'test': {'accuracy': float('nan')}}, 'test accuracy is no finite number'),
        ({'val': {'accuracy': float('inf')}}, 'val accuracy is no finite number'),
        ({'train': {'accuracy': 10**400}}, 'train accuracy is no finite number'),
        ({'test': {'accuracy': '0.5'}}, 'test accuracy is no finite number'),
        ({'test': {'accuracy': True}}, 'test accuracy is no finite number'),
        ({'test': {'f1': 0.5}}, 'test has no accuracy'),
        ({'val': [0.5]}, 'val needs metrics'),
        ({'metric': ['accuracy']}, 'metric needs the name of one'),
        ({'best_epoch': 1.5}, 'best_epoch needs a whole number'),
    ],
)
def test_summary_with_no_number_where_one_is_needed_is_refused(
    tmp_path: Path, changes: dict[str, Any], told: str
) -> None:
    here = finished(tmp_path / '0', 0.4)
    finished(tmp_path / '1', 0.6, seed=1, summary=changes)
    assert told in aggregate(here)[1][0]
