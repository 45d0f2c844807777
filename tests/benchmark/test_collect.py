"""Run folders and CSV files as one tidy table."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import fake_runs
import pandas as pd
import pytest

from graphgps_ext.benchmark.collect import COLUMNS, KEY, collect, read_csv, tidy, write_csv, write_parquet
from graphgps_ext.benchmark.write import check_older, write_results
from graphgps_ext.errors import UserError


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
    frame, _ = collect([tmp_path])
    assert list(frame.loc[0, KEY]) == ['actor', 'Spexphormer', 0, 0]
    assert pd.isna(frame.loc[0, 'torch']) and frame.loc[0, 'test'] == 0.5


def test_unfinished_and_unreadable_runs_are_left_out_and_named(tmp_path: Path) -> None:
    _, killed, torn = fake_runs.fake_result(tmp_path, 'GCN', [0.1, 0.2, 0.3])
    (killed / 'summary.json').unlink()
    (killed / 'train').mkdir()
    (torn / 'summary.json').write_text('{"metric":')
    frame, notes = collect([tmp_path])
    assert list(frame.seed) == [0]
    assert any(str(torn) in note and 'cannot be read' in note for note in notes)
    assert f'unfinished and left out: 1 in {tmp_path}' in notes


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


def test_older_csv_is_merged_and_its_missing_columns_named(tmp_path: Path) -> None:
    old = pd.DataFrame({'dataset': ['actor'] * 2, 'model': ['GCN', 'MLP'], 'split': 0, 'seed': 0})
    old = old.assign(metric='accuracy', test=[0.1, 0.2])
    old.to_csv(tmp_path / 'old.csv', index=False)
    fake_runs.fake_result(tmp_path / 'runs', 'GCN', [0.5, 0.6])
    frame, notes = collect([tmp_path / 'old.csv', tmp_path / 'runs'])
    assert [tuple(row) for row in frame[['model', 'seed', 'test']].to_numpy()] == [
        ('GCN', 0, 0.5),  # the run, not the older row
        ('GCN', 1, 0.6),
        ('MLP', 0, 0.2),
    ]
    (note,) = notes
    assert 'of an older version, without train, val, best_epoch, ' in note and 'git_revision' in note


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


def test_results_of_another_config_under_one_name_are_not_replaced_in_silence(tmp_path: Path) -> None:
    config = fake_runs.write_config(tmp_path / 'GCN/actor-GCN.yaml')
    for place, test, overrides in (('a', 0.1, ()), ('b', 0.2, ('optim.base_lr', '0.5')), ('c', 0.3, ())):
        (run,) = fake_runs.plan(config, overrides=overrides)
        fake_runs.finish(run, tmp_path / place, test=test)
    frame, notes = collect([tmp_path / 'a', tmp_path / 'b'])
    assert list(frame.test) == [0.2]
    assert notes == [
        'actor/GCN: results of another config under the same name gave way to the later ones named'
    ]
    assert collect([tmp_path / 'a', tmp_path / 'c'])[1] == []
