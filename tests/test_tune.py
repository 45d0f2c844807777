"""`graphgps-ext tune`: what it searches, that it sees validation alone, and that a killed search goes on."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
import runs
import yaml
from yacs.config import CfgNode

from graphgps_ext.commands import main, tune
from graphgps_ext.errors import UserError
from graphgps_ext.loader.datasets import minesweeper_grid
from graphgps_ext.search import study as of_search
from graphgps_ext.search.space import Space, read_space
from graphgps_ext.search.storage import open_storage
from graphgps_ext.train.results import finish

# The command ignores these warnings, of a third party.
pytestmark = pytest.mark.filterwarnings('ignore::FutureWarning')

SPACE = {
    'gt.dropout': {'low': 0.0, 'high': 0.5},
    'gt.dim_hidden, gnn.dim_inner': [8, 16],
    'spex.layer_degrees': [[3], [4, 2]],
    'skip': [
        {'gt.linear_skip': True, 'gt.residual': False},
        {'gt.linear_skip': False, 'gt.residual': True},
    ],
}
UNIFORM = {'spex.strategy': 'uniform', 'spex.estimator': ''}


@pytest.fixture
def search(graphgym_cfg: CfgNode, tmp_path: Path) -> Callable[..., optuna.Study]:
    """Runs a search on the small grid and gives its study."""

    def run(
        trials: int = 3,
        *options: str,
        name: str = 'study',
        space: dict[str, Any] | None = None,
        changes: dict[str, Any] | None = None,
    ) -> optuna.Study:
        file = tmp_path / 'space.yaml'
        file.write_text(yaml.safe_dump(space or SPACE))
        study = tmp_path / f'{name}.db'
        before = ['--space', str(file), '--study', str(study), '--trials', str(trials), *options]
        words = runs.arguments('spexphormer', tmp_path, {**UNIFORM, **(changes or {})}, *before)
        with runs.as_if_alone():
            tune.main(words[1:])
        return optuna.load_study(study_name=name, storage=f'sqlite:///{study}')

    return run


def found(study: optuna.Study) -> list[tuple[dict[str, Any], float | None]]:
    return [(trial.params, trial.value) for trial in study.trials]


def read(tmp_path: Path, content: Any) -> Space:
    file = tmp_path / 'space.yaml'
    file.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
    return read_space(file, {'a.x': 1, 'a.y': 2, 'b': 'c'})


def test_space_holds_choices_ranges_tied_keys_and_bundles(tmp_path: Path) -> None:
    space = read(
        tmp_path,
        {'a.x, a.y': [[1, 2], True, 1], 'b': {'low': 1, 'high': 3}},
    )
    first, second = space.dimensions
    fixed = optuna.trial.FixedTrial({'a.x, a.y': 'true', 'b': 2})
    assert space.suggest(fixed) == {'a.x': True, 'a.y': True, 'b': 2}
    assert space.settings({'a.x, a.y': '[1, 2]', 'b': 3}) == {'a.x': [1, 2], 'a.y': [1, 2], 'b': 3}
    assert [first.stored({'a.x': v, 'a.y': v}) for v in ([1, 2], 5)] == ['[1, 2]', None]
    assert [second.stored({'b': value}) for value in (1, 4)] == [1, None]
    bundles = read(tmp_path, {'any': [{'a.x': 1}, {'a.x': 2, 'b': 'd'}]})
    assert bundles.settings({'any': '{"a.x": 2, "b": "d"}'}) == {'a.x': 2, 'b': 'd'}
    assert bundles.stored({'a.x': 1, 'b': 'c'}) == {'any': '{"a.x": 1}'}


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        ({'a.z': [1]}, 'a.z: a.z is not a config key'),
        ({'any': [{'a.z': 1}]}, 'any: a.z is not a config key'),
        ({'a.x': []}, r'a.x: needs \[choices\] or \{low: , high: , log: \}, got \[\]'),
        ({'a.x': {'low': 1}}, r"got \{'low': 1\}"),
        ({'a.x': {'low': 2, 'high': 1}}, 'needs low below high, got 2 and 1'),
        ({'a.x': {'low': 0, 'high': 1, 'log': True}}, 'low below high, both above 0, got 0 and 1'),
        ({'a.x': {'low': '1e-3', 'high': 1}}, r"numbers as low and high, got '1e-3' .* 1.0e-3, not 1e-3"),
        ({'a.x': [1, 1]}, r'a.x: needs different choices, got \[1, 1\]'),
        ({'a.x': [1, 2], 'any': [{'a.x': 1}]}, 'a.x stands in several entries'),
        ({'a.x': [None]}, 'a.x needs numbers, texts or lists as choices, got None'),
        ('a.x: [2024-01-01]', 'a.x needs numbers, texts or lists as choices, got datetime.date'),
        ('a.x: [.nan]', 'a.x needs a finite number'),
        ('a.x: {low: 1, high: .inf}', 'high needs a finite number'),
        ({'a.x': {'low': 1, 'high': 2, 'log': 'yes'}}, "needs True or False as log, got 'yes'"),
        ({'a.x, a.x': [1]}, 'needs different keys, got one twice'),
        ({'any': [{}]}, r'needs choices, and keys in them, got \[\{\}\]'),
        ('a: [', 'is not valid YAML'),
        ('', 'needs entries "key: .choices."'),
    ],
)
def test_space_that_cannot_be_searched_is_refused(tmp_path: Path, content: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read(tmp_path, content)


def test_first_trial_is_the_config_itself_and_all_stay_within_the_space(
    search: Callable[..., optuna.Study], capsys: pytest.CaptureFixture[str]
) -> None:
    changes = {'gt.dim_hidden': 16, 'gnn.dim_inner': 16, 'spex.layer_degrees': [4, 2], 'gt.dropout': 0.25}
    study = search(3, changes=changes)
    first, *others = [trial.params for trial in study.trials]
    assert first['gt.dropout'] == 0.25 and first['gt.dim_hidden, gnn.dim_inner'] == '16'
    assert first['spex.layer_degrees'] == '[4, 2]' and '"gt.residual": true' in first['skip']
    assert len(others) == 2 and all(0 <= params['gt.dropout'] <= 0.5 for params in others)
    assert len({json.dumps(params) for params in (first, *others)}) == 3
    printed = capsys.readouterr().out
    assert printed.count('trial ') == 3 and f'best validation {study.best_value:.4f}' in printed


def test_labels_of_test_nodes_do_not_matter(search: Callable[..., optuna.Study], tmp_path: Path) -> None:
    grid = minesweeper_grid(16, 0)
    part = np.random.default_rng(0).permutation(256)
    masks = {f'{name}_mask': (part % 4 == i) for i, name in enumerate(('val', 'test'))}
    masks['train_mask'] = part % 4 >= 2
    studies = []
    for name in ('right', 'wrong'):
        y = grid.y.numpy().copy()
        if name == 'wrong':
            y[masks['test_mask']] = 1 - y[masks['test_mask']]
        np.savez(tmp_path / 'toy.npz', edge_index=grid.edge_index, x=grid.x, y=y, **masks)
        changes = {'dataset.format': 'file', 'dataset.path': tmp_path / 'toy.npz'}
        changes |= {'dataset.split_mode': 'standard'}
        studies.append(search(3, name=name, changes=changes))
    assert found(studies[0]) == found(studies[1])
    test = [
        json.loads(next((tmp_path / name).glob('trials/1/*/*/summary.json')).read_text())['test']['auc']
        for name in ('right', 'wrong')
    ]
    assert test[0] != test[1]  # the labels did change


def test_search_sees_nothing_of_a_run_but_its_validation_metric(tmp_path: Path) -> None:
    summary = {'metric': 'auc', 'val': {'auc': 0.7, 'accuracy': 0.1}}
    (tmp_path / 'summary.json').write_text(json.dumps(summary))
    finish(tmp_path)
    assert of_search.validation(tmp_path) == 0.7
    for damaged in (
        '{"metric": "auc", "val": {"auc": NaN}}',
        '{"metric": "auc", "val": []}',
        '{}',
        '[]',
        '{"me',
    ):
        (tmp_path / 'summary.json').write_text(damaged)
        finish(tmp_path)
        with pytest.raises(UserError, match=r'summary\.json is damaged'):
            of_search.validation(tmp_path)


def test_interrupted_search_goes_on_where_it_stopped(
    search: Callable[..., optuna.Study], monkeypatch: pytest.MonkeyPatch
) -> None:
    run_once, started = of_search.run_once, []

    def interrupted(*args: Any) -> None:
        started.append(args)
        if len(started) == 2:
            raise KeyboardInterrupt
        run_once(*args)

    monkeypatch.setattr(of_search, 'run_once', interrupted)
    with pytest.raises(KeyboardInterrupt):
        search(2)
    study = search(2)
    complete = [trial.value for trial in study.trials if trial.value is not None]
    assert len(complete) == 2 and len(started) == 3
    before = found(study)
    assert found(search(2)) == before and len(started) == 3  # there is nothing left to do
    assert len(found(search(3))) == len(before) + 1


def test_best_config_is_ready_to_run_and_gives_the_best_value(
    search: Callable[..., optuna.Study], tmp_path: Path
) -> None:
    study = search(3)
    best = tmp_path / 'study' / 'best' / 'minesweeper-grid-spexphormer.yaml'
    assert best.read_text().startswith(f'# Best of 3 trials by validation ({study.best_value:.4f}, trial ')
    place = {'out_dir': tmp_path / 'again', 'accelerator': 'cpu', 'num_threads': 1, 'print': 'file'}
    with runs.as_if_alone():
        main(['train', '--cfg', str(best), *(str(word) for pair in place.items() for word in pair)])
    again = runs.summary(tmp_path / 'again' / best.stem / '0')
    assert again['val']['auc'] == study.best_value


def test_trials_leave_no_checkpoints(search: Callable[..., optuna.Study], tmp_path: Path) -> None:
    search(2)
    files = runs.files_in(tmp_path / 'study')
    assert sum(file.endswith('summary.json') for file in files) == 2
    assert not [file for file in files if file.endswith('.ckpt')]


def test_settings_that_cannot_be_run_are_told_and_passed_over(
    search: Callable[..., optuna.Study], capsys: pytest.CaptureFixture[str]
) -> None:
    study = search(4, space={'gt.n_heads': [4, 5]})
    errors = [trial.user_attrs['error'] for trial in study.trials if trial.value is None]
    assert errors and all('gt.dim_hidden needs to be a multiple of gt.n_heads' in error for error in errors)
    assert 'gt.dim_hidden needs to be a multiple' in capsys.readouterr().out
    with pytest.raises(UserError, match=r'no trial of .*hopeless.db came to its end'):
        search(2, name='hopeless', space={'gt.n_heads': [5, 7]})


def test_training_that_diverges_prunes_its_trial(
    search: Callable[..., optuna.Study], capsys: pytest.CaptureFixture[str]
) -> None:
    study = search(3, space={'optim.base_lr': [0.01, 1e30]})
    assert {trial.params['optim.base_lr']: trial.state for trial in study.trials} == {
        '0.01': optuna.trial.TrialState.COMPLETE,
        '1e+30': optuna.trial.TrialState.PRUNED,
    }
    assert 'is not finite. Most likely the steps are too large' in capsys.readouterr().out


@pytest.mark.parametrize(
    ('kwargs', 'what'), [({'space': {'gt.n_heads': [4]}}, 'space'), ({'changes': {'seed': 3}}, 'config')]
)
def test_study_of_something_else_is_refused(
    search: Callable[..., optuna.Study], kwargs: dict[str, Any], what: str
) -> None:
    search(1)
    with pytest.raises(UserError, match=rf'study.db is a study of another {what}: choose another .*--study'):
        search(2, **kwargs)


def test_poor_trial_is_pruned(search: Callable[..., optuna.Study]) -> None:
    study = optuna.create_study(
        direction='maximize', pruner=optuna.pruners.MedianPruner(n_startup_trials=1, n_warmup_steps=0)
    )
    study.add_trial(optuna.trial.create_trial(value=0.9, intermediate_values={0: 0.9, 1: 0.9, 2: 0.9}))

    good = of_search.pruning(study.ask(), epochs=40)  # every second epoch
    good(0, 0.95)
    good(1, 0.95)
    good(2, 0.95)
    assert list(study.trials[-1].intermediate_values) == [2]
    poor = of_search.pruning(study.ask(), epochs=40)
    poor(0, 0.2)  # not yet
    with pytest.raises(optuna.TrialPruned):
        poor(1, 0.2)
    unknown = of_search.pruning(study.ask(), epochs=40)
    unknown(1, float('-inf'))  # no epoch may be chosen yet
    late = of_search.pruning(study.ask(), epochs=2)
    late(1, 0.2)  # there is nothing left to save
    assert [trial.intermediate_values for trial in study.trials[-2:]] == [{}, {}]


def test_search_goes_on_after_a_pruned_trial(
    search: Callable[..., optuna.Study], monkeypatch: pytest.MonkeyPatch
) -> None:
    def prunes_the_second(trial: optuna.Trial, epochs: int) -> Callable[[int, float], None]:
        def look(epoch: int, best: float) -> None:
            told.append((trial.number, epoch, best))
            if trial.number == 1 and epoch == 1:
                raise optuna.TrialPruned

        return look

    told: list[tuple[int, int, float]] = []
    monkeypatch.setattr(of_search, 'pruning', prunes_the_second)
    states = [trial.state.name for trial in search(3).trials]
    assert states == ['COMPLETE', 'PRUNED', 'COMPLETE']
    assert [number for number, epoch, _ in told if epoch == 1] == [0, 1, 2]
    best = [value for number, _, value in told if number == 0]
    assert best == sorted(best)


def test_study_needs_the_name_of_a_file(search: Callable[..., optuna.Study], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r'--study needs a file name that ends in .db, got .*study$'):
        search(1, '--study', str(tmp_path / 'study'))


def test_stage_1_is_trained_once_for_each_graph(search: Callable[..., optuna.Study], tmp_path: Path) -> None:
    space = {'prep.exp_deg': [2, 3], 'gt.dropout': {'low': 0.0, 'high': 0.5}}
    space['estimator.spex.temperature_decay'] = [0.9]
    file = tmp_path / 'estimator.yaml'
    tree = yaml.safe_load(runs.CONFIGS['estimator'].read_text())
    tree['optim']['max_epoch'], tree['gt']['layers'], tree['train']['eval_period'] = 2, 2, 1
    file.write_text(yaml.safe_dump(tree))
    changes = {'spex.strategy': 'weighted', 'spex.estimator': 'of the trial'}
    study = search(4, '--estimator', str(file), space=space, changes=changes)
    degrees = {trial.params['prep.exp_deg'] for trial in study.trials}
    scores = sorted((tmp_path / 'study' / 'estimators').glob('*/estimator/0/scores'))
    assert len(scores) == len(degrees) and len(study.trials) == 4
    for path in scores:
        resolved = yaml.safe_load((path.parent / 'config.yaml').read_text())
        assert resolved['spex']['temperature_decay'] == 0.9 and resolved['dataset']['grid_side'] == 16
    best = tmp_path / 'study' / 'best'
    first, second = (
        yaml.safe_load((best / name).read_text())
        for name in ('estimator.yaml', 'minesweeper-grid-spexphormer.yaml')
    )
    assert first['prep'] == second['prep'] and second['spex']['estimator'] == 'estimator'
    assert first['spex']['temperature_decay'] == 0.9 and first['dataset'] == second['dataset']


def test_keys_of_stage_1_need_its_config(search: Callable[..., optuna.Study]) -> None:
    for space in ({'estimator.gt.dim_hidden': [4]}, {'width': [{'estimator.gt.dim_hidden': 4}]}):
        with pytest.raises(ValueError, match=r'has keys of stage 1, which needs a config \(--estimator\)'):
            search(1, space=space)


def test_jobs_are_processes_that_share_the_study(
    search: Callable[..., optuna.Study], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    study = search(3, '--jobs', '2')
    complete = [trial for trial in study.trials if trial.value is not None]
    assert len(complete) >= 3  # a job may begin one more before it sees the last of another
    assert f'best validation {study.best_value:.4f}' in capsys.readouterr().out


@pytest.mark.filterwarnings('ignore:Heartbeat of storage')  # a study's own loop asks, says optuna
def test_no_two_jobs_get_the_trial_that_waits(tmp_path: Path) -> None:
    def ask(_: int) -> list[int]:
        study = optuna.load_study(study_name='s', storage=open_storage(tmp_path / 's.db', tmp_path / 'lock'))
        return [study.ask().number for _ in range(10)]

    study = optuna.create_study(study_name='s', storage=open_storage(tmp_path / 's.db', tmp_path / 'lock'))
    for _ in range(40):
        study.enqueue_trial({})
    with ThreadPoolExecutor(4) as threads:
        numbers = [number for asked in threads.map(ask, range(4)) for number in asked]
    assert sorted(numbers) == list(range(40))


def test_job_that_fails_fails_the_search(
    search: Callable[..., optuna.Study], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tune, 'run_job', failing_job)
    with pytest.raises(UserError, match='1 of 2 processes failed'):
        search(1, '--jobs', '2')


def failing_job(number: int, trials: int, options: dict[str, Any]) -> int:
    return number == 2


def test_pairs_of_numbers_that_make_no_sense_are_refused(search: Callable[..., optuna.Study]) -> None:
    for option in ('--trials', '--jobs', '--repeat'):
        with pytest.raises(ValueError, match=f'{option} needs to be at least 1, got 0'):
            search(1, option, '0')


def test_study_that_sqlite_cannot_use_is_a_message(
    search: Callable[..., optuna.Study], tmp_path: Path
) -> None:
    (tmp_path / 'text.db').write_text('no database ' * 1000)
    (tmp_path / 'folder.db').mkdir()
    for name, reason in (('text', 'file is not a database'), ('folder', 'unable to open database file')):
        told = rf'the study .*{name}\.db cannot be read or written: {reason} \(--study\)'
        with pytest.raises(UserError, match=told):
            search(1, name=name)
