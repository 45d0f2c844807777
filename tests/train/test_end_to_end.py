"""Both stages as a user runs them: what they write, and that it is what was computed."""

from __future__ import annotations

import json
import statistics
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import runs
import yaml

from graphgps_ext import scores

FEW = {'optim.max_epoch': 6, 'train.ckpt_period': 2}


@pytest.fixture(scope='module')
def out_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results of both stages with two seeds each; not to be changed."""
    folder = tmp_path_factory.mktemp('results')
    for stage in ('estimator', 'spexphormer'):
        runs.run(stage, folder, FEW, '--repeat', '2')
    return folder


def result_dir(out_dir: Path, stage: str) -> Path:
    return out_dir / runs.CONFIGS[stage].stem


@pytest.fixture(params=['estimator', 'spexphormer'])
def stage(request: pytest.FixtureRequest) -> str:
    return request.param


def test_run_folder_holds_what_the_readme_promises(out_dir: Path, stage: str) -> None:
    found = runs.files_in(result_dir(out_dir, stage) / '1')
    events = [name for name in found if name.startswith('events.out.tfevents')]
    wanted = ['config.yaml', 'hparams.yaml', 'logging.log', 'summary.json']
    wanted += [
        'inputs.json',
        'checksums.json',
        'ckpt/best.ckpt',
        'ckpt/last.ckpt',
        *(f'{split}/stats.json' for split in runs.SPLITS),
    ]
    if stage == 'estimator':
        names = ('manifest.json', 'indptr.npy', 'source.npy', 'edge_type.npy', 'layer_0.npy', 'layer_1.npy')
        wanted += [f'scores/{name}' for name in names]
    assert sorted(wanted) == [name for name in found if name not in events] and events


def test_stored_config_is_the_resolved_one(out_dir: Path, stage: str) -> None:
    stored = yaml.safe_load((result_dir(out_dir, stage) / '1' / 'config.yaml').read_text())
    assert stored['seed'] == 1 and stored['optim']['max_epoch'] == 6
    assert stored['gt']['layers'] == 2 and stored['spex']['temperature_hold'] == 5


def test_stats_have_a_row_for_each_epoch_and_split(out_dir: Path, stage: str) -> None:
    for split in runs.SPLITS:
        rows = runs.stats(result_dir(out_dir, stage) / '0', split)
        assert [row['epoch'] for row in rows] == list(range(6))
        names = {'loss', 'accuracy', 'auc', 'lr', 'params', 'time_epoch', 'time_iter', 'time_sampling'}
        assert names <= rows[0].keys() and ('eta' in rows[0]) == (split == 'train')
        assert all(0 <= row['auc'] <= 1 and row['time_epoch'] > 0 for row in rows)
    sampling = [row['time_sampling'] for row in runs.stats(result_dir(out_dir, stage) / '0', 'train')]
    assert all(seconds > 0 for seconds in sampling) == (stage == 'spexphormer')


def test_best_epoch_is_the_first_with_the_highest_validation_metric(out_dir: Path, stage: str) -> None:
    for run_id in ('0', '1'):
        run_dir = result_dir(out_dir, stage) / run_id
        values = [row['auc'] for row in runs.stats(run_dir, 'val')]
        assert runs.summary(run_dir)['best_epoch'] == values.index(max(values))


def test_summary_tells_what_the_issue_asks_for(out_dir: Path, stage: str) -> None:
    run_dir = result_dir(out_dir, stage) / '1'
    summary = runs.summary(run_dir)
    rows = runs.stats(run_dir, 'train')
    assert (summary['config'], summary['run'], summary['seed']) == (run_dir.parent.name, '1', 1)
    assert (summary['metric'], summary['epochs'], summary['device']) == ('auc', 6, 'cpu')
    best = summary['best_epoch']
    assert summary['train'] == {name: rows[best][name] for name in summary['train']}
    assert summary['params'] == rows[0]['params']
    seconds = sorted(row['time_epoch'] for row in rows)
    assert summary['seconds_per_epoch'] == seconds[3]
    assert summary['seconds_total'] == pytest.approx(sum(seconds), abs=1e-3)
    sampling = sum(row['time_sampling'] for row in rows)
    assert summary['seconds_sampling'] == pytest.approx(sampling, abs=1e-3)
    waiting = sum(row['time_waiting'] for row in rows)
    assert summary['seconds_waiting'] == pytest.approx(waiting, abs=1e-3)
    assert summary['waiting_share'] == pytest.approx(100 * waiting / sum(seconds), abs=0.01)
    assert (waiting > 0) == (stage == 'spexphormer')
    assert 100 < summary['peak_rss_mb'] < 10_000 and summary['peak_gpu_mb'] == 0
    for split in ('val', 'test'):
        assert {'accuracy', 'auc', 'auc_single_draw'} <= summary[split].keys()


def test_report_is_on_the_weights_of_the_best_epoch(tmp_path: Path) -> None:
    # Nothing is drawn in stage 1: its report has to repeat the evaluation of that epoch.
    hasty = {'optim.base_lr': 0.3, 'optim.max_epoch': 6, 'spex.temperature_hold': 1}
    run_dir = runs.run('estimator', tmp_path, {**hasty, 'spex.temperature_decay': 0.5}) / '0'
    summary = runs.summary(run_dir)
    assert summary['best_epoch'] < 5  # another one than the last
    for split in ('val', 'test'):
        row = runs.stats(run_dir, split)[summary['best_epoch']]
        for name in ('accuracy', 'auc', 'f1'):
            assert summary[split][name] == pytest.approx(row[name], abs=2e-6)


def test_share_of_kept_edges_is_that_of_the_published_definition(out_dir: Path) -> None:
    run_dir = result_dir(out_dir, 'estimator') / '0'
    types = np.bincount(np.load(run_dir / 'scores' / 'edge_type.npy'))
    share = 100 * 256 * (4 + 3) / 2 / (types[0] + types[1])
    assert runs.summary(result_dir(out_dir, 'spexphormer') / '0')['kept_share'] == round(share, 2)
    assert runs.summary(run_dir)['kept_share'] == 100


def test_scores_are_those_of_the_best_epoch_and_its_temperature(out_dir: Path) -> None:
    run_dir = result_dir(out_dir, 'estimator') / '1'
    summary, manifest = runs.summary(run_dir), scores.load(run_dir / 'scores').manifest
    row = runs.stats(run_dir, 'val')[summary['best_epoch']]
    assert (manifest.epoch, manifest.seed) == (summary['best_epoch'], 1)
    assert manifest.temperature == summary['temperature'] == 1.0  # within the hold phase
    assert (manifest.metric, manifest.metric_value) == ('auc', row['auc'])
    assert (manifest.num_layers, manifest.width, manifest.expander_degree) == (2, 4, 2)


def test_annealing_reaches_the_scores(tmp_path: Path) -> None:
    annealed = {'spex.temperature_hold': 1, 'spex.temperature_decay': 0.5, 'spex.select_after_hold': True}
    run_dir = runs.run('estimator', tmp_path, annealed) / '0'
    best = runs.summary(run_dir)['best_epoch']
    manifest = scores.load(run_dir / 'scores').manifest
    assert [round(point.value, 6) for point in scalars(run_dir, 'temperature')] == [1.0, 1.0, 0.5, 0.25]
    assert best >= 1 and manifest.temperature == runs.summary(run_dir)['temperature'] == 0.5 ** (best - 1)


def test_best_epoch_lies_after_the_hold_phase_when_asked_for(tmp_path: Path) -> None:
    hold = {'optim.base_lr': 0.3, 'spex.temperature_hold': 4, 'optim.max_epoch': 6}
    free = runs.run('estimator', tmp_path / 'free', hold) / '0'
    held = runs.run('estimator', tmp_path / 'held', {**hold, 'spex.select_after_hold': True}) / '0'
    values = [row['auc'] for row in runs.stats(free, 'val')]
    assert [row['auc'] for row in runs.stats(held, 'val')] == values
    assert runs.summary(free)['best_epoch'] == values.index(max(values)) < 4
    assert runs.summary(held)['best_epoch'] == 4 + values[4:].index(max(values[4:]))


def test_evaluation_every_few_epochs(tmp_path: Path) -> None:
    run_dir = runs.run('estimator', tmp_path, {'optim.max_epoch': 5, 'train.eval_period': 2}) / '0'
    assert [row['epoch'] for row in runs.stats(run_dir, 'train')] == [0, 1, 2, 3, 4]
    assert [row['epoch'] for row in runs.stats(run_dir, 'val')] == [1, 3]
    assert runs.summary(run_dir)['best_epoch'] in (1, 3)


def test_aggregate_is_mean_and_population_deviation_over_the_runs(out_dir: Path, stage: str) -> None:
    folder = result_dir(out_dir, stage)
    summaries = [runs.summary(folder / run_id) for run_id in ('0', '1')]
    for split in runs.SPLITS:
        best = json.loads((folder / 'agg' / split / 'best.json').read_text())
        assert best['runs'] == 2
        for name in ('epoch', 'accuracy', 'auc'):
            values = [s['best_epoch'] if name == 'epoch' else s[split][name] for s in summaries]
            assert best[name] == pytest.approx(statistics.fmean(values), abs=1e-6)
            assert best[f'{name}_std'] == pytest.approx(statistics.pstdev(values), abs=1e-6)
    assert statistics.pstdev(s['test']['auc'] for s in summaries) > 0  # or the above would say little


def test_last_line_gives_the_mean_over_the_runs(out_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs.run('estimator', out_dir, FEW, '--repeat', '2')  # both are finished
    best = json.loads((result_dir(out_dir, 'estimator') / 'agg' / 'test' / 'best.json').read_text())
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.endswith(f'test auc {best["auc"]:.4f} ± {best["auc_std"]:.4f} over 2 runs')


def scalars(run_dir: Path, name: str) -> list[Any]:
    """The points of a curve in TensorBoard."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    return EventAccumulator(str(run_dir)).Reload().Scalars(name)


def test_tensorboard_has_scalars_and_hyper_parameters(out_dir: Path, stage: str) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

    run_dir = result_dir(out_dir, stage) / '0'
    events = EventAccumulator(str(run_dir)).Reload()
    tags = set(events.Tags()['scalars'])
    assert {'train/loss', 'val/auc', 'test/auc', 'lr', 'time/epoch', 'best/test_auc'} <= tags
    rows = runs.stats(run_dir, 'val')
    points = dict((point.step, point.value) for point in events.Scalars('val/auc'))
    assert points == pytest.approx({row['epoch']: row['auc'] for row in rows}, abs=2e-6)  # 6 digits, float32
    best = events.Scalars('best/test_auc')[-1].value
    assert best == pytest.approx(runs.summary(run_dir)['test']['auc'], abs=1e-5)
    start = events.summary_metadata['_hparams_/session_start_info'].plugin_data.content
    in_events = HParamsPluginData.FromString(start).session_start_info.hparams
    assert in_events['optim.base_lr'].number_value == 0.01
    in_file = yaml.safe_load((run_dir / 'hparams.yaml').read_text())
    assert in_file['optim.base_lr'] == 0.01 and in_file['gt.layers'] == 2


def test_same_seed_twice_gives_the_same_numbers_and_another_seed_others(
    out_dir: Path, tmp_path: Path, stage: str
) -> None:
    first = result_dir(out_dir, stage)
    named = {'spex.estimator': result_dir(out_dir, 'estimator')} if stage == 'spexphormer' else {}
    again = runs.run(stage, tmp_path, {**FEW, **named})
    assert runs.result(again / '0') == runs.result(first / '0')
    assert runs.result(first / '1')['val'] != runs.result(first / '0')['val']


def test_same_seed_twice_gives_the_same_numbers_with_threads_and_compiled_operators(tmp_path: Path) -> None:
    as_shipped = {
        'num_threads': 2,
        'gt.attention_impl': 'auto',
        'dataset.grid_side': 40,
        'optim.max_epoch': 2,
    }
    for place in ('here', 'there'):
        for stage in ('estimator', 'spexphormer'):
            runs.run(stage, tmp_path / place, as_shipped)
    for stage in ('estimator', 'spexphormer'):
        here, there = (result_dir(tmp_path / place, stage) / '0' for place in ('here', 'there'))
        assert runs.result(here) == runs.result(there)


def test_both_stages_learn_the_grid(tmp_path: Path) -> None:
    larger = {'dataset.grid_side': 32, 'optim.max_epoch': 30, 'optim.base_lr': 0.02}
    first = runs.run('estimator', tmp_path, larger)
    second = runs.run('spexphormer', tmp_path, larger)
    loss = [row['loss'] for row in runs.stats(second / '0', 'train')]
    assert loss[-1] < 0.8 * loss[0]
    assert runs.summary(first / '0')['test']['auc'] > 0.6
    assert runs.summary(second / '0')['test']['auc'] > 0.8


def test_exphormer_runs_on_the_whole_graph(tmp_path: Path) -> None:
    summary = runs.summary(runs.run('Exphormer', tmp_path) / '0')
    assert summary['kept_share'] == 100 and summary['seconds_sampling'] == 0


@pytest.mark.parametrize(
    'layers',
    [
        {'gnn.layer_type': 'gcnconv'},
        {'gnn.layer_type': 'spex_exphormer', 'gnn.stage_type': 'skipsum'},
    ],
    ids=['gcn', 'our layer'],
)
def test_stock_networks_of_graphgym_run_as_baselines(tmp_path: Path, layers: dict[str, Any]) -> None:
    run_dir = runs.run('Exphormer', tmp_path, {'model.type': 'gnn', 'gnn.layers_mp': 2, **layers}) / '0'
    assert len(runs.stats(run_dir, 'test')) == 4


def test_both_stages_run_on_a_real_graph(real_datasets: Path, tmp_path: Path) -> None:
    real = {'dataset.dir': real_datasets, 'optim.max_epoch': 2, 'prep.exp_deg': 3}
    first = runs.run('real estimator', tmp_path, real)
    second = runs.run('real spexphormer', tmp_path, real)
    graph = scores.load(first / '0' / 'scores').graph
    types = graph.edge_type.bincount().tolist()
    # Published: 39,402 undirected edges; 2 · 3 expander edges per node, less the few self-loops.
    assert (graph.num_nodes, types[0], types[2]) == (10_000, 78_804, 10_000) and 59_900 < types[1] <= 60_000
    for folder in (first, second):
        summary = runs.summary(folder / '0')
        assert 0.3 < summary['test']['auc'] < 1 and len(runs.stats(folder / '0', 'test')) == 2
