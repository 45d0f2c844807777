"""What happens when a config is run again: finished runs stay, others are refused or deleted on request."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import runs


def folder_of(out_dir: Path, stage: str = 'estimator') -> Path:
    return out_dir / runs.CONFIGS[stage].stem


def state(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Every file with its time of change and its content."""
    files = (path for path in folder.rglob('*') if path.is_file())
    return {str(path): (path.stat().st_mtime_ns, path.read_bytes()) for path in files}


def aggregate(folder: Path) -> dict[str, float]:
    return json.loads((folder / 'agg' / 'test' / 'best.json').read_text())


def test_finished_run_is_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = runs.run('estimator', tmp_path)
    before = state(folder / '0')
    # Where a run is done is no part of what it computes.
    runs.run('estimator', tmp_path, {'num_threads': 2, 'dataset.dir': 'elsewhere', 'num_workers': 1})
    assert state(folder / '0') == before
    assert f'{folder / "0"} is finished' in capsys.readouterr().err


def test_more_repeats_add_seeds(tmp_path: Path) -> None:
    folder = runs.run('estimator', tmp_path, None, '--repeat', '2')
    before = state(folder / '0') | state(folder / '1')
    assert aggregate(folder)['runs'] == 2
    runs.run('estimator', tmp_path, None, '--repeat', '3')
    assert state(folder / '0') | state(folder / '1') == before
    assert aggregate(folder)['runs'] == 3
    assert [runs.summary(folder / str(seed))['seed'] for seed in range(3)] == [0, 1, 2]
    splits = {json.loads(p.read_text())['split_fingerprint'] for p in folder.glob('*/scores/manifest.json')}
    assert len(splits) == 1  # seeds share a split


def test_repeats_start_at_the_seed_of_the_config(tmp_path: Path) -> None:
    folder = runs.run('estimator', tmp_path, {'seed': 7}, '--repeat', '2')
    assert sorted(path.name for path in folder.iterdir()) == ['7', '8', 'agg']


def test_other_config_in_the_same_folder_is_refused_and_each_key_named(tmp_path: Path) -> None:
    folder = runs.run('estimator', tmp_path)
    before = state(folder)
    message = runs.refusal('estimator', tmp_path, {'optim.base_lr': 0.5, 'prep.exp_seed': 3})
    assert message.splitlines() == [
        f'error: {folder / "0"} holds results of another config or of other data, '
        'by its config.yaml and inputs.json:',
        '  optim.base_lr: 0.01 there, 0.5 now',
        '  prep.exp_seed: 0 there, 3 now',
        'Set out_dir to another folder, or train.overwrite True to delete them.',
    ]
    assert state(folder) == before


def test_results_of_another_config_are_deleted_when_asked_for(tmp_path: Path) -> None:
    folder = runs.run('estimator', tmp_path)
    (folder / '0' / 'note.txt').write_text('mine')
    before = runs.result(folder / '0')
    runs.run('estimator', tmp_path, {'optim.base_lr': 0.5, 'train.overwrite': True})
    assert runs.result(folder / '0') != before and not (folder / '0' / 'note.txt').exists()
    assert [row['epoch'] for row in runs.stats(folder / '0', 'train')] == [0, 1, 2, 3]
    # What is there now is a run of that config, finished.
    before = state(folder / '0')
    runs.run('estimator', tmp_path, {'optim.base_lr': 0.5})
    assert state(folder / '0') == before


def test_overwriting_keeps_results_of_the_same_config_and_what_bad_input_would_replace(
    tmp_path: Path,
) -> None:
    folder = runs.run('estimator', tmp_path)
    before = state(folder / '0')
    runs.run('estimator', tmp_path, {'train.overwrite': True})
    runs.refusal('estimator', tmp_path, {'train.overwrite': True, 'dataset.split': [0.5, 0.1, 0.1]})
    assert state(folder / '0') == before


def test_splits_have_folders_of_their_own_and_stage_2_takes_the_scores_of_its_split(tmp_path: Path) -> None:
    splits = {'run_multiple_splits': [2, 0]}
    first = runs.run('estimator', tmp_path, splits)
    second = runs.run('spexphormer', tmp_path, splits)
    fingerprints = {}
    for split in ('0', '2'):
        manifest = json.loads((first / split / 'scores' / 'manifest.json').read_text())
        fingerprints[split] = manifest['split_fingerprint']
        assert manifest['split'] == f'random 0.5/0.25/0.25, split_seed {split}'
        assert runs.summary(second / split)['scores'] == str(first / split / 'scores')
        assert runs.summary(second / split)['seed'] == 0
    assert fingerprints['0'] != fingerprints['2']
    assert aggregate(second)['runs'] == 2
    assert sorted(path.name for path in second.iterdir()) == ['0', '2', 'agg']


def test_each_run_has_a_log_of_its_own(tmp_path: Path) -> None:
    folder = runs.run('estimator', tmp_path, None, '--repeat', '2')
    for seed, other in (('0', '1'), ('1', '0')):
        log = (folder / seed / 'logging.log').read_text()
        assert 'epoch 4/4' in log and f'{folder / seed}: test auc' in log
        assert f'{folder / other}' not in log


def test_stage_2_takes_the_lowest_seed_of_stage_1_or_the_one_asked_for(tmp_path: Path) -> None:
    first = runs.run('estimator', tmp_path, {'seed': 3}, '--repeat', '2')
    lowest = runs.run('spexphormer', tmp_path, None, '--repeat', '2')
    for seed in ('0', '1'):
        assert runs.summary(lowest / seed)['scores'] == str(first / '3' / 'scores')
    asked = runs.run('spexphormer', tmp_path / 'asked', {'spex.estimator': first, 'spex.estimator_seed': 4})
    assert runs.summary(asked / '0')['scores'] == str(first / '4' / 'scores')


def test_finished_results_may_be_moved(tmp_path: Path) -> None:
    folder = runs.run('estimator', tmp_path / 'here')
    shutil.move(tmp_path / 'here', tmp_path / 'there')
    before = state(tmp_path / 'there' / folder.name / '0')
    runs.run('estimator', tmp_path / 'there')
    assert state(tmp_path / 'there' / folder.name / '0') == before


def test_config_is_marked_as_done_when_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = shutil.copy(runs.CONFIGS['estimator'], tmp_path / 'mine.yaml')
    monkeypatch.setitem(runs.CONFIGS, 'estimator', Path(config))
    runs.run('estimator', tmp_path / 'out', None, '--mark_done')
    assert runs.files_in(tmp_path / 'out' / 'mine') and (tmp_path / 'mine.yaml_done').exists()


def test_folder_of_a_run_may_be_named(tmp_path: Path) -> None:
    folder = runs.run('estimator', tmp_path, {'train.run_id': 'split-0-seed-0'})
    assert sorted(path.name for path in folder.iterdir()) == ['agg', 'split-0-seed-0']
    message = runs.refusal('estimator', tmp_path, {'train.run_id': 'x'}, '--repeat', '2')
    assert message == 'error: train.run_id names the folder of one run: it needs --repeat 1 and no splits'
