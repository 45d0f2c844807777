"""`graphgps-ext benchmark` as a user calls it."""

from __future__ import annotations

from pathlib import Path

import fake_runs
import pandas as pd
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from graphgps_ext.benchmark.configs import find_files
from graphgps_ext.commands import benchmark, main
from graphgps_ext.errors import UserError

REPOSITORY = Path(__file__).resolve().parents[2]
EXPHORMER = REPOSITORY / 'configs/Exphormer/minesweeper-grid-Exphormer.yaml'
SPEXPHORMER = REPOSITORY / 'configs/Spexphormer/minesweeper-grid-spexphormer.yaml'
TINY = {
    'dataset.grid_side': 16,
    'prep.exp_deg': 2,
    'gt.layers': 2,
    'spex.layer_degrees': [4, 3],
    'spex.eval_draws': 1,
    'optim.max_epoch': 2,
    'optim.num_warmup_epochs': 1,
    'gt.attention_impl': 'torch',  # nothing to compile
}


@pytest.mark.slow
def test_two_models_from_files_to_table_and_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / 'out'
    tiny = [str(part) for pair in TINY.items() for part in pair]
    line = [str(EXPHORMER), str(SPEXPHORMER), '--devices', 'cpu', '--jobs', '2', '--out', str(out), *tiny]

    assert benchmark.main(line) == 0
    printed = capsys.readouterr().out
    assert '3 runs: 3 models (Spexphormer-estimator, Exphormer, Spexphormer) on minesweeper-grid' in printed
    frame = pd.read_csv(out / 'results.csv')
    assert sorted(frame.model) == ['Exphormer', 'Spexphormer', 'Spexphormer-estimator']
    row = frame[frame.model == 'Spexphormer'].iloc[0]
    assert 0 <= row.test <= 1 and row.jobs == 2 and row.epochs == 2 and row.num_nodes == 256
    assert row.edges == round(256 * 3.5) and 0 < row.kept_share < 100 and row.stage_1_seconds > 0
    assert row.config_file == str(SPEXPHORMER)
    assert (out / 'table.md').read_text().partition('\n')[2].strip() in printed

    run_dir = out / 'minesweeper-grid' / 'Spexphormer' / 'split-0-seed-0'
    board = EventAccumulator(str(run_dir))
    board.Reload()
    scalars = {
        'train/loss',
        'val/auc',
        'test/auc',
        'lr',
        'time/epoch',
        'kept_share',
        'params',
        'best/test_auc',
    }
    assert {*scalars, 'memory/peak_rss_mb'} <= {*board.Tags()['scalars']}
    assert [event.value for event in board.Scalars('kept_share')] == pytest.approx(
        [row.kept_share] * 2, abs=0.01
    )
    (text,) = board.Tensors('config/text_summary')
    assert b'layer_degrees' in text.tensor_proto.string_val[0]
    board = EventAccumulator(str(run_dir.parent.parent / 'Spexphormer-estimator' / 'split-0-seed-0'))
    board.Reload()
    assert len(board.Scalars('temperature')) == 2

    # A run that was killed before its end is taken up again, all others are left alone.
    before = {path: path.stat().st_mtime_ns for path in out.rglob('summary.json')}
    (run_dir / 'summary.json').unlink()
    assert benchmark.main(line) == 0
    assert '2 done before, 1 to do' in capsys.readouterr().out
    after = {path: path.stat().st_mtime_ns for path in out.rglob('summary.json')}
    assert [path for path in after if after[path] != before[path]] == [run_dir / 'summary.json']
    again = pd.read_csv(out / 'results.csv')
    assert list(again.test) == list(frame.test)


def out_of_luck(arguments: list[str]) -> int:
    """Instead of training."""
    raise SystemExit('error: out of luck')


def test_failed_run_is_listed_with_its_log_and_the_status_is_not_zero(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(benchmark, 'call', out_of_luck)
    config = fake_runs.write_config(tmp_path / 'GCN/actor-GCN.yaml')
    done = fake_runs.write_config(tmp_path / 'MLP/actor-MLP.yaml')
    (run,) = fake_runs.plan(done)
    fake_runs.finish(run, tmp_path / 'out')
    assert benchmark.main([str(config), str(done), '--devices', 'cpu', '--out', str(tmp_path / 'out')]) == 1
    told = capsys.readouterr()
    log = tmp_path / 'out/logs/actor/GCN/split-0-seed-0.log'
    assert f'1 run failed:\n  actor/GCN/split-0-seed-0: out of luck; {log}' in told.err and log.is_file()
    assert '| MLP' in told.out  # the table of what is done
    assert 'The same command again takes up what is missing' in told.err


def test_collecting_writes_tables_and_figures_without_running(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fake_runs.fake_result(tmp_path / 'a', 'GCN', [0.5, 0.6])
    fake_runs.fake_result(tmp_path / 'b', 'MLP', [0.4, 0.5])
    line = ['--collect', str(tmp_path / 'a'), str(tmp_path / 'b'), '--out', str(tmp_path / 'all')]
    assert benchmark.main(line) == 0
    assert sorted(pd.read_csv(tmp_path / 'all/results.csv').model.unique()) == ['GCN', 'MLP']
    assert '**0.5500 ± 0.0500**' in capsys.readouterr().out


def test_dry_run_lists_the_runs_of_a_shard_and_writes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = fake_runs.write_config(tmp_path / 'GCN/actor-GCN.yaml')
    line = [str(config), '--repeat', '4', '--shard', '2/2', '--out', str(tmp_path / 'out'), '--dry-run']
    assert benchmark.main([*line, 'optim.base_lr', '0.5']) == 0
    printed = capsys.readouterr().out
    assert '2 runs (shard 2/2)' in printed and 'actor/GCN/split-0-seed-3' in printed
    assert benchmark.main([*line, '--shard', '8/8']) == 0  # the last one given counts
    assert 'shard 8/8 has no runs' in capsys.readouterr().out
    assert not (tmp_path / 'out').exists()


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        ([], 'needs config files or folders of them, got none'),
        (['configs/nowhere.yaml'], r'no config files by these names:\n  configs/nowhere\.yaml'),
        (['{config}', 'gt.layer', '3'], r'gt\.layer is not a config key; the nearest is gt\.layers'),
        (['{config}', 'gt.layers'], 'overrides need pairs of key and value'),
        (['{config}', 'out_dir', 'x'], 'out_dir is set by the benchmark: use --out'),
        (['{config}', '--shard', '3/2'], '--shard needs i/n'),
        (['{config}', '--devices', 'tpu'], '--devices needs some of cpu'),
        (['{config}', '--grid', 'nowhere.txt'], 'there is no grid file nowhere.txt'),
        (['{config}', '--collect', '{out}'], '--collect runs nothing, got also'),
        (['--collect', '{out}'], 'there is no folder or CSV file'),
    ],
)
def test_bad_input_is_refused_before_anything_is_written(
    tmp_path: Path, arguments: list[str], message: str
) -> None:
    config = fake_runs.write_config(tmp_path / 'GCN/actor-GCN.yaml')
    filled = [text.format(config=config, out=tmp_path / 'out') for text in arguments]
    options = [] if '--collect' in filled else ['--out', str(tmp_path / 'out')]
    with pytest.raises(UserError, match=message):
        benchmark.main([*filled, *options])
    assert not (tmp_path / 'out').exists()


def test_message_ends_the_process_without_a_trace() -> None:
    with pytest.raises(SystemExit) as ended:
        main(['benchmark', 'nowhere.yaml'])
    assert ended.value.code == 'error: there are no config files by these names:\n  nowhere.yaml'


def test_shipped_configs_are_found_by_name_folder_and_pattern(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    configs = REPOSITORY / 'configs'
    monkeypatch.chdir(tmp_path)
    assert find_files(['Exphormer/minesweeper-grid-Exphormer']) == [EXPHORMER]
    assert find_files(['configs/Exphormer']) == sorted((configs / 'Exphormer').glob('*.yaml'))
    assert find_files(['configs/*/minesweeper-grid-[EM]*.yaml']) == [
        EXPHORMER,
        configs / 'MLP/minesweeper-grid-MLP.yaml',
    ]
    with pytest.raises(UserError, match=r'\n  MLP/minesweeper-grid-MLQ; shipped under names like it: MLP'):
        find_files(['MLP/minesweeper-grid-MLQ'])


def test_older_csv_that_cannot_take_rows_stops_it_before_the_first_run(tmp_path: Path) -> None:
    config = fake_runs.write_config(tmp_path / 'GCN/actor-GCN.yaml')
    (tmp_path / 'out').mkdir()
    (tmp_path / 'out' / 'results.csv').write_text('model,acc\nGCN,0.5\n')
    with pytest.raises(UserError, match='lacks the columns dataset, split, seed, metric, test'):
        benchmark.main([str(config), '--out', str(tmp_path / 'out')])
    assert [path.name for path in (tmp_path / 'out').iterdir()] == ['results.csv']
    assert (tmp_path / 'out' / 'results.csv').read_text() == 'model,acc\nGCN,0.5\n'
