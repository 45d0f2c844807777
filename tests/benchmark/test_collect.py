"""Run folders and CSV files as one tidy table."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import fake_runs
import pandas as pd
import pytest
from damages import DAMAGES

from graphgps_ext.benchmark.collect import collect
from graphgps_ext.benchmark.compare import several_versions, summarize
from graphgps_ext.benchmark.tidy import COLUMNS, KEY, read_csv, tidy, write_csv, write_parquet
from graphgps_ext.benchmark.write import check_older, write_results
from graphgps_ext.errors import UserError
from graphgps_ext.train.results import finish as mark_finished


def test_row_holds_what_the_run_recorded(tmp_path: Path) -> None:
    config = fake_runs.write_config(tmp_path / 'GCN/actor-GCN.yaml', train={'batch_size': 64})
    (run,) = fake_runs.plan(config, splits='3', overrides=('seed', '2'))
    folder = fake_runs.finish(run, tmp_path / 'out', test=0.4, peak_gpu_mb=123.4)
    (folder / 'benchmark.json').write_text(json.dumps({'jobs': 2, 'seconds_wall': 9.0}))
    frame, notes = collect([tmp_path / 'out'])
    assert notes == [] and len(frame) == 1
    row = frame.iloc[0]
    assert list(row[KEY]) == ['actor', 'GCN', 3, 2]
    assert (row.metric, row.train, row.val, row.test) == ('accuracy', 0.4, 0.41, 0.4)
    assert (row.params, row.seconds_per_epoch, row.seconds_total) == (1234, 0.5, 5.0)
    assert (row.peak_rss_mb, row.peak_gpu_mb, row.edges, row.kept_share) == (700.0, 123.4, 400, 100.0)
    assert (row.torch, row.python, row.git_revision, row.jobs) == ('2.13.0+cpu', '3.11.7', '1234567', 2)
    assert (row.test_f1, row.train_f1) == (0.2, 0.2) and len(row.config_hash) == 12
    assert pd.isna(row.batch_size) and pd.isna(row.stage_1_seconds)
    assert list(frame.columns)[: len(COLUMNS)] == list(COLUMNS)


def test_hash_is_shared_by_seeds_and_splits_only(tmp_path: Path) -> None:
    config = fake_runs.write_config(tmp_path / 'GCN/actor-GCN.yaml')
    for run in fake_runs.plan(config, repeat=2, splits='0,1'):
        fake_runs.finish(run, tmp_path / 'a')
    for run in fake_runs.plan(config, overrides=('optim.base_lr', '0.5')):
        fake_runs.finish(run, tmp_path / 'b')
    same, other = (set(collect([tmp_path / name])[0].config_hash) for name in 'ab')
    assert len(same) == 1 and len(other) == 1 and same != other


def test_second_stage_carries_the_cost_of_the_first_also_when_moved(tmp_path: Path) -> None:
    (first,) = fake_runs.fake_result(
        tmp_path / 'a', 'Spexphormer-estimator', [0.3], seconds_per_epoch=0.5, epochs=14, peak_rss_mb=900.0
    )
    fake_runs.fake_result(tmp_path / 'a', 'Spexphormer', [0.4, 0.5], scores=str(first / 'scores'))
    shutil.move(tmp_path / 'a', tmp_path / 'b')
    frame, _ = collect([tmp_path / 'b'])
    rows = frame[frame.model == 'Spexphormer']
    assert list(rows.stage_1_seconds) == [7.0, 7.0] and list(rows.stage_1_peak_rss_mb) == [900.0, 900.0]
    assert frame[frame.model == 'Spexphormer-estimator'].stage_1_seconds.isna().all()


def test_results_of_main_without_a_benchmark_are_read_too(tmp_path: Path) -> None:
    (folder,) = fake_runs.fake_result(tmp_path, 'x', [0.5])
    (folder.parent / 'benchmark.json').unlink()
    shutil.move(folder.parent, tmp_path / 'actor-spexphormer')
    content = fake_runs.summary(0.5, seed=0)
    for key in ('versions', 'git_revision', 'edges', 'num_nodes'):  # of an older version
        del content[key]
    path = tmp_path / 'actor-spexphormer/split-0-seed-0/summary.json'
    path.write_text(json.dumps(content))
    mark_finished(path.parent)
    frame, _ = collect([tmp_path])
    assert list(frame.loc[0, KEY]) == ['actor', 'Spexphormer', 0, 0]
    assert pd.isna(frame.loc[0, 'torch']) and frame.loc[0, 'test'] == 0.5


def test_unfinished_and_unreadable_runs_are_left_out_and_named(tmp_path: Path) -> None:
    _, killed, torn = fake_runs.fake_result(tmp_path, 'GCN', [0.1, 0.2, 0.3])
    for name in ('summary.json', 'checksums.json'):
        (killed / name).unlink()
    (killed / 'train').mkdir()
    (torn / 'summary.json').write_text('{"metric":')
    frame, notes = collect([tmp_path])
    assert list(frame.seed) == [0]
    assert any(note.startswith(f'{torn} is left out: {torn / "summary.json"} is damaged') for note in notes)
    assert f'unfinished or of an older version, and left out: 1 in {tmp_path}' in notes


def test_csv_round_trip_keeps_values_and_types(tmp_path: Path) -> None:
    # Revisions that a reader could take for numbers.
    fake_runs.fake_result(tmp_path / 'runs', 'GCN', [0.25, 1 / 3], git_revision='1234567')
    fake_runs.fake_result(tmp_path / 'runs', 'a_b,c', [0.5], git_revision='12e4567')
    frame, _ = collect([tmp_path / 'runs'])
    write_csv(frame, tmp_path / 'results.csv')
    again, notes = read_csv(tmp_path / 'results.csv')
    assert notes == []
    pd.testing.assert_frame_equal(again, frame)
    assert set(again.git_revision) == {'1234567', '12e4567'}
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ['results.csv']


def test_parquet_round_trip_keeps_values(tmp_path: Path) -> None:
    pytest.importorskip('pyarrow')
    fake_runs.fake_result(tmp_path / 'runs', 'GCN', [0.25, 1 / 3])
    frame, _ = collect([tmp_path / 'runs'])
    assert write_parquet(frame, tmp_path / 'results.parquet') is None
    again = tidy(pd.read_parquet(tmp_path / 'results.parquet'))
    pd.testing.assert_frame_equal(again, frame, check_dtype=False)


def test_missing_pyarrow_is_told_with_its_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__('sys').modules, 'pyarrow', None)
    note = write_parquet(pd.DataFrame(), tmp_path / 'results.parquet')
    assert note is not None and 'needs pyarrow: pip install "graphgps_ext[benchmark]"' in note
    assert not (tmp_path / 'results.parquet').exists()


def config_of(frame: pd.DataFrame) -> str:
    (config,) = set(frame['config_hash'].dropna())
    return config


def test_older_csv_is_merged_and_its_missing_columns_named(tmp_path: Path) -> None:
    old = pd.DataFrame({'dataset': ['actor'] * 2, 'model': ['GCN', 'MLP'], 'split': 0, 'seed': 0})
    old = old.assign(metric='accuracy', test=[0.1, 0.2])
    old.to_csv(tmp_path / 'old.csv', index=False)
    fake_runs.fake_result(tmp_path / 'runs', 'GCN', [0.5, 0.6])
    frame, notes = collect([tmp_path / 'old.csv', tmp_path / 'runs'])
    config = config_of(frame)
    assert [tuple(row) for row in frame[['model', 'seed', 'test']].to_numpy()] == [
        (f'GCN (config {config})', 0, 0.5),
        (f'GCN (config {config})', 1, 0.6),
        ('GCN (config not recorded)', 0, 0.1),  # it may be of anything
        ('MLP', 0, 0.2),
    ]
    note, apart = notes
    assert 'of an older version, without variant, train, val, best_epoch, ' in note and 'git_revision' in note
    assert apart.startswith('actor/GCN: runs that differ in more than seed and split are kept apart')


def test_csv_without_what_a_table_needs_is_refused_and_left(tmp_path: Path) -> None:
    path = tmp_path / 'results.csv'
    path.write_text('dataset,model,acc\nactor,GCN,0.5\n')
    with pytest.raises(UserError, match='lacks the columns split, seed, metric, test'):
        check_older(tmp_path)
    path.write_text('dataset,model,split,seed,metric,test\nactor,GCN,0,first,auc,0.5\n')
    with pytest.raises(UserError, match='has a value of the wrong kind'):
        check_older(tmp_path)
    path.write_text('')
    with pytest.raises(UserError, match='is no table'):
        check_older(tmp_path)
    assert path.read_text() == ''


def test_rows_of_deleted_runs_stay_in_the_csv(tmp_path: Path) -> None:
    fake_runs.fake_result(tmp_path, 'GCN', [0.5])
    (folder,) = fake_runs.fake_result(tmp_path, 'MLP', [0.4])
    write_results([tmp_path], tmp_path)
    shutil.rmtree(folder)
    fake_runs.fake_result(tmp_path, 'GAT', [0.6])
    write_results([tmp_path], tmp_path)
    assert list(read_csv(tmp_path / 'results.csv')[0].model) == ['GAT', 'GCN', 'MLP']


def test_no_results_is_said_and_nothing_written(tmp_path: Path) -> None:
    (tmp_path / 'runs').mkdir()
    with pytest.raises(UserError, match=r'no results to tabulate in .*runs: no run there is finished'):
        write_results([tmp_path / 'runs'], tmp_path / 'out')
    with pytest.raises(UserError, match='there is no folder or CSV file'):
        write_results([tmp_path / 'nowhere'], tmp_path / 'out')
    assert not (tmp_path / 'out').exists()


def fake_of(place: Path, test: float, *overrides: str, seed: int = 0, **changes: Any) -> None:
    """A finished run of GCN with other keys."""
    config = fake_runs.write_config(place / 'configs/GCN/actor-GCN.yaml')
    (run,) = fake_runs.plan(config, overrides=('seed', str(seed), *overrides))
    fake_runs.finish(run, place, test=test, **changes)


def test_configs_of_one_name_are_kept_apart_by_the_keys_that_differ(tmp_path: Path) -> None:
    fake_of(tmp_path / 'a', 0.1)
    fake_of(tmp_path / 'b', 0.2, 'optim.base_lr', '0.5')
    fake_of(tmp_path / 'b', 0.3, 'optim.base_lr', '0.5', seed=1)
    frame, notes = collect([tmp_path / 'a', tmp_path / 'b'])
    means = {row.model: row.mean for row in summarize(frame).itertuples()}
    assert means == {'GCN (optim.base_lr 0.5)': pytest.approx(0.25), 'GCN (optim.base_lr 0.01)': 0.1}
    assert notes == [
        'actor/GCN: runs that differ in more than seed and split are kept apart, by optim.base_lr. '
        'Delete the folders, or rows of results.csv, not wanted.'
    ]
    assert set(frame.variant) == {'optim.base_lr 0.5', 'optim.base_lr 0.01'}
    assert list(collect([tmp_path / 'a'])[0].model) == ['GCN']


def test_more_keys_than_a_name_can_hold_are_in_the_note(tmp_path: Path) -> None:
    fake_of(tmp_path / 'a', 0.1)
    others = {
        'optim.base_lr': 0.5,
        'optim.max_epoch': 90,
        'gt.layers': 3,
        'gt.dropout': 0.4,
        'prep.exp_seed': 5,
    }
    fake_of(tmp_path / 'b', 0.2, *(str(word) for pair in others.items() for word in pair))
    frame, notes = collect([tmp_path / 'a', tmp_path / 'b'])
    assert sorted(frame.model) == sorted(f'GCN (config {config})' for config in frame.config_hash)
    assert f'by {", ".join(sorted(others))}.' in notes[0]


@pytest.mark.parametrize('name', ['features', 'edges', 'labels', 'masks', 'edge_features', 'estimator'])
def test_other_inputs_under_one_config_are_kept_apart(tmp_path: Path, name: str) -> None:
    fake_runs.fake_result(tmp_path / 'a', 'GCN', [0.1, 0.3])
    fake_runs.fake_result(tmp_path / 'b', 'GCN', [0.5, 0.7], inputs={name: 'other'})
    frame, notes = collect([tmp_path])
    assert sorted(row.mean for row in summarize(frame).itertuples()) == [
        pytest.approx(0.2),
        pytest.approx(0.6),
    ]
    assert set(frame.model) == {f'GCN (inputs {inputs})' for inputs in set(frame.inputs_hash)}
    assert f'kept apart, by other {name.replace("_", " ")}.' in notes[0]


def test_other_metrics_under_one_name_are_kept_apart(tmp_path: Path) -> None:
    fake_runs.fake_result(tmp_path / 'a', 'GCN', [0.2, 0.4])
    fake_runs.fake_result(tmp_path / 'b', 'GCN', [0.6, 0.8], metric='f1')
    frame, notes = collect([tmp_path])
    assert set(frame.model) == {'GCN (accuracy)', 'GCN (f1)'} and 'by metric.' in notes[0]


def test_tables_of_tables_keep_the_names_and_the_runs(tmp_path: Path) -> None:
    """A name with what tells it apart is not taken for another model when its table is read again."""
    fake_of(tmp_path / 'a', 0.1)
    fake_of(tmp_path / 'b', 0.2, 'optim.base_lr', '0.5')
    first, _ = collect([tmp_path])
    write_csv(first, tmp_path / 'results.csv')
    again, _ = collect([tmp_path / 'results.csv', tmp_path])
    pd.testing.assert_frame_equal(again, first)
    alone, _ = collect([tmp_path / 'results.csv'])  # the configs are not known any more
    pd.testing.assert_frame_equal(alone, first)
    frame, _ = collect([tmp_path / 'results.csv', tmp_path / 'a'])
    pd.testing.assert_frame_equal(frame, first)
    only = first[first.variant == 'optim.base_lr 0.5']
    write_csv(only, tmp_path / 'results.csv')
    assert list(collect([tmp_path / 'results.csv'])[0].model) == ['GCN']


def test_run_that_lies_in_two_places_counts_once_the_last_named(tmp_path: Path) -> None:
    fake_of(tmp_path / 'a', 0.1)
    fake_of(tmp_path / 'a', 0.3, seed=1)
    shutil.copytree(tmp_path / 'a', tmp_path / 'b')
    frame, notes = collect([tmp_path / 'a', tmp_path / 'b'])
    assert list(frame.test) == [0.1, 0.3] and notes == []
    fake_of(tmp_path / 'b', 0.2)
    frame, notes = collect([tmp_path / 'a', tmp_path / 'b'])
    assert list(frame.test) == [0.2, 0.3]
    assert notes == [
        'actor/GCN: of runs of one config, split and seed with different results only the last named count'
    ]


def test_estimator_that_is_another_one_by_now_gives_no_cost(tmp_path: Path) -> None:
    (first,) = fake_runs.fake_result(tmp_path, 'Spexphormer-estimator', [0.3])
    fake_runs.fake_result(tmp_path, 'Spexphormer', [0.4, 0.5], scores=str(first / 'scores'))
    assert list(collect([tmp_path])[0].stage_1_seconds.dropna()) == [5.0, 5.0]
    fake_runs.fake_result(tmp_path, 'Spexphormer-estimator', [0.7])  # trained again
    frame, notes = collect([tmp_path])
    assert frame.stage_1_seconds.isna().all()
    told = f'actor/Spexphormer: the cost of stage 1 is left empty: the run {first} that was used is gone, '
    assert notes == [f'{told}damaged, or another one by now']
    both = (
        summarize(frame).set_index('model').loc['Spexphormer']
    )  # of the second stage alone it would be wrong
    assert (
        both[['seconds_all', 'peak_rss_mb', 'peak_gpu_mb']].isna().all() and both['seconds_per_epoch'] == 0.5
    )
    fake_runs.fake_result(tmp_path, 'Spexphormer-estimator', [0.3])
    assert not collect([tmp_path])[0].stage_1_seconds.dropna().empty
    (first / 'scores' / 'layer_0.npy').unlink()
    assert collect([tmp_path])[0].stage_1_seconds.isna().all()
    shutil.rmtree(first)
    assert collect([tmp_path])[1] == [f'{told}damaged, or another one by now']


@pytest.mark.parametrize('file', ['config.yaml', 'summary.json', 'benchmark.json', '../benchmark.json'])
def test_damaged_runs_among_others_are_left_out_and_named(tmp_path: Path, file: str) -> None:
    fake_runs.fake_result(tmp_path, 'whole', [0.1])
    taken, named = ['whole'], []
    for name, damage in DAMAGES.items():
        (folder,) = fake_runs.fake_result(tmp_path, name, [0.9])
        (folder / 'benchmark.json').write_text('{"jobs": 2, "seconds_wall": 9.0}')
        damage(folder / file)
        if (file, name) in [
            ('benchmark.json', 'gone'),
            ('benchmark.json', 'of no keys'),
            ('../benchmark.json', 'gone'),
        ]:
            taken.append(name)  # how it was run is not known, or that it was run by a benchmark
        else:
            named.append(f'{folder} is left out: ')
    frame, notes = collect([tmp_path])
    assert sorted(frame.model) == sorted(taken) and not set(frame[frame.model != 'whole'].jobs.dropna()) - {2}
    assert len(notes) == len(named)
    for start in named:
        (note,) = (note for note in notes if note.startswith(start))
        assert Path(file).name in note


@pytest.mark.parametrize(
    ('changes', 'told'),
    [
        ({'params': '1234'}, 'params'),
        ({'params': 10**30}, 'params'),
        ({'epochs': 3.5}, 'epochs needs a whole number'),
        ({'seconds_per_epoch': float('nan')}, 'seconds_per_epoch'),
        ({'peak_rss_mb': [1]}, 'peak_rss_mb'),
        ({'device': 3}, 'device'),
        ({'versions': {'torch': 2}}, 'torch'),
        ({'val': {'accuracy': float('nan')}}, 'val accuracy is no finite number'),
    ],
)
def test_value_that_no_run_writes_is_not_taken(tmp_path: Path, changes: dict[str, Any], told: str) -> None:
    (folder,) = fake_runs.fake_result(tmp_path, 'GCN', [0.1], **changes)
    frame, (note,) = collect([tmp_path])
    assert not len(frame) and str(folder / 'summary.json') in note and told in note


HEAD = 'dataset,model,split,seed,metric,val,test'


@pytest.mark.parametrize(
    ('text', 'told'),
    [
        (f'{HEAD}\nactor,GCN,0,0,auc,0.4,0.5\nactor,GCN,0,1,auc,0.', 'row 3 needs 7 values, got 6'),
        (f'{HEAD}\nactor,GCN,0,0,auc,0.4,0.5\nactor,GCN,0,1,auc,0.3,0.4', 'the last line does not end'),
        (f'{HEAD}\nactor,GCN,0,0,auc,0.4,\n', 'every row needs test'),
        (f'{HEAD}\nactor,GCN,0,,auc,0.4,0.5\n', 'every row needs seed'),
        (f'{HEAD}\nactor,GCN,0,0,auc,0.4,nan\n', 'value of the wrong kind|is no table|every row needs test'),
        (f'{HEAD}\nactor,GCN,0,0,auc,inf,0.5\n', 'no finite numbers in val'),
        (f'{HEAD}\nactor,GCN,0,0,auc,0.4,True\n', 'no finite numbers in test'),
        (f'{HEAD}\nactor,GCN,0,1e300,auc,0.4,0.5\n', 'value of the wrong kind'),
        (f'{HEAD}\nactor,GCN,0,0.5,auc,0.4,0.5\n', 'value of the wrong kind'),
        (f'{HEAD},test\nactor,GCN,0,0,auc,0.4,0.5,0.6\n', 'the columns test stand there twice'),
        (f'{HEAD}\nactor,GCN,0,0,auc,0.4,0.\x005\n', 'value of the wrong kind'),
    ],
)
def test_damaged_csv_is_refused_and_left(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / 'results.csv'
    path.write_text(text)
    with pytest.raises(UserError, match=told):
        check_older(tmp_path)
    assert path.read_text() == text


def test_model_that_is_called_like_a_missing_value_keeps_its_name(tmp_path: Path) -> None:
    fake_runs.fake_result(tmp_path / 'runs', 'NA', [0.5])
    frame, _ = collect([tmp_path / 'runs'])
    write_csv(frame, tmp_path / 'results.csv')
    assert list(read_csv(tmp_path / 'results.csv')[0].model) == ['NA']


@pytest.mark.parametrize('damage', ['folder', 'pipe', 'loop'])
def test_results_file_that_is_no_file_is_refused(tmp_path: Path, damage: str) -> None:
    fake_runs.fake_result(tmp_path, 'GCN', [0.5])
    (tmp_path / 'results.csv').write_text('')
    DAMAGES[damage](tmp_path / 'results.csv')
    with pytest.raises(UserError, match=r'results\.csv is no file'):
        write_results([tmp_path], tmp_path)


def test_several_versions_under_one_name_are_said(tmp_path: Path) -> None:
    versions = {**fake_runs.VERSIONS, 'torch': '2.14.0'}
    fake_of(tmp_path, 0.1)
    fake_of(tmp_path, 0.1, seed=1, versions=versions)
    frame, _ = collect([tmp_path])
    assert several_versions(frame) == ['means over several versions of torch: actor/GCN']
    assert several_versions(frame[:1]) == []
