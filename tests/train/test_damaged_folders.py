"""Damaged run folders: what gives the same numbers is made again, else it is named with what to do."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import runs

from graphgps_ext.train.lock import locked

FILES = (
    'config.yaml', 'inputs.json', 'summary.json', 'checksums.json', 'train/stats.json', 'val/stats.json',
    'ckpt/last.ckpt', 'ckpt/best.ckpt', 'scores/manifest.json', 'scores/layer_1.npy',
)  # fmt: skip
KEYS = {'train.ckpt_period': 1}


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def empty(path: Path) -> None:
    path.write_bytes(b'')


def flip(path: Path) -> None:
    """One bit of a digit, if there is one, as in a plausible number."""
    data = bytearray(path.read_bytes())
    places = [i for i, byte in enumerate(data) if chr(byte).isdigit()] or [len(data) // 2]
    data[places[len(places) // 2]] ^= 1
    path.write_bytes(data)


def make_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def make_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


DAMAGES = {
    'cut': cut,
    'empty': empty,
    'flip': flip,
    'gone': Path.unlink,
    'folder': make_folder,
    'pipe': make_pipe,
}


@pytest.fixture(scope='module')
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished stage 1; not to be changed."""
    return runs.run('estimator', tmp_path_factory.mktemp('finished'), KEYS) / '0'


@pytest.fixture
def copy(finished: Path, tmp_path: Path) -> Path:
    """A copy of it, to be damaged."""
    return shutil.copytree(finished, tmp_path / finished.parent.name / '0')


def outcome(copy: Path, changes: dict[str, Any] | None = None) -> str:
    """The message of a refusal, or nothing."""
    try:
        runs.run('estimator', copy.parents[1], KEYS | (changes or {}))
    except SystemExit as error:
        assert isinstance(error.code, str) and error.code.startswith('error: ')
        return error.code
    return ''


# Every file in two ways, and one of each kind in all.
CASES = [(name, damage) for name in FILES for damage in ('cut', 'flip')]
CASES += [
    (name, damage) for name in ('summary.json', 'ckpt/last.ckpt') for damage in ('empty', 'gone', 'pipe')
]
CASES += [('checksums.json', 'folder'), ('config.yaml', 'gone')]


@pytest.mark.parametrize(('name', 'damage'), CASES)
def test_damage_is_mended_or_named(copy: Path, finished: Path, name: str, damage: str) -> None:
    DAMAGES[damage](copy / name)
    message = outcome(copy)
    if message:
        assert name in message and 'train.overwrite True' in message
        assert not outcome(copy, {'train.overwrite': True})
    wanted = runs.result(finished)
    assert runs.result(copy) == wanted
    assert outcome(copy) == ''


def test_these_are_mended(copy: Path, finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ('summary.json', 'checksums.json', 'scores/layer_1.npy', 'scores/manifest.json'):
        (copy / name).unlink()
        assert outcome(copy) == '' and runs.result(copy) == runs.result(finished)
    shutil.rmtree(copy / 'scores')
    assert outcome(copy) == '' and runs.result(copy) == runs.result(finished)
    assert f'{copy / "scores" / "manifest.json"} is missing' in capsys.readouterr().err


def test_unfinished_run_goes_on_from_the_best_epoch_if_the_last_is_damaged(
    copy: Path, finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ('checksums.json', 'summary.json'):
        (copy / name).unlink()
    cut(copy / 'ckpt/last.ckpt')
    assert outcome(copy) == '' and runs.result(copy) == runs.result(finished)
    assert 'last.ckpt is damaged' in capsys.readouterr().err
    assert f'resuming from {copy / "ckpt" / "best.ckpt"}' in (copy / 'logging.log').read_text()


def test_checkpoints_of_another_run_are_refused(copy: Path, tmp_path: Path) -> None:
    other = runs.run('estimator', tmp_path / 'other', KEYS | {'seed': 1}) / '1'
    for name in ('ckpt/last.ckpt', 'ckpt/best.ckpt'):
        shutil.copy(other / name, copy / name)
    (copy / 'checksums.json').unlink()
    assert 'last.ckpt belongs to another run' in outcome(copy)


def test_summary_of_another_run_is_not_taken(copy: Path, finished: Path, tmp_path: Path) -> None:
    other = runs.run('estimator', tmp_path / 'other', KEYS | {'seed': 1}) / '1'
    shutil.copy(other / 'summary.json', copy / 'summary.json')
    assert outcome(copy) == '' and runs.result(copy) == runs.result(finished)


@pytest.mark.parametrize('overwrite', [False, True])
def test_second_process_in_a_folder_is_refused(copy: Path, overwrite: bool) -> None:
    (copy / 'checksums.json').unlink()
    before = runs.files_in(copy)
    changes: dict[str, Any] = {'optim.base_lr': 0.5, 'train.overwrite': True} if overwrite else {}
    with locked(copy):
        message = outcome(copy, changes)
        assert message.startswith(f'error: {copy} is in use by process {os.getpid()} on ')
        assert {*before, '.lock'} == {*runs.files_in(copy)}
    assert outcome(copy, changes) == ''
