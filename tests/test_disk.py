"""What the system refuses: a message that names the file, the reason and the key; nothing half-written."""

from __future__ import annotations

import errno
import os
import re
import resource
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import runs
import torch

from graphgps_ext.commands.refused import explained
from graphgps_ext.errors import MissingFileError
from graphgps_ext.files import delete_left, naming, written
from graphgps_ext.scores.files import write_array

FULL = Path('/dev/full')
SHORT = {'optim.max_epoch': 2}


@pytest.mark.parametrize(
    ('number', 'reason'),
    [
        (errno.ENOSPC, r'the disk is full, [\d,.]+ MB are free'),
        (errno.EDQUOT, r'your quota of the disk is used up, [\d,.]+ MB are free'),
        (errno.EROFS, 'the file system is read-only'),
        (errno.EACCES, 'permission denied'),
        (errno.ENOTDIR, 'a part of its path is a file, not a folder'),
        (errno.ENAMETOOLONG, 'the name is too long'),
        (errno.EMFILE, r'too many files are open \(ulimit -n\)'),
    ],
)
def test_message_names_the_file_the_reason_and_the_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, reason: str
) -> None:
    def refuse(*args: object) -> None:
        raise OSError(number, os.strerror(number), str(tmp_path / 'data/x.npz'))

    monkeypatch.setattr('graphgps_ext.train.runs.load_graph', refuse)
    told = runs.refusal('estimator', tmp_path / 'out', {'dataset.dir': tmp_path / 'data'})
    wanted = f'error: {re.escape(str(tmp_path))}/data/x.npz cannot be used: {reason}. '
    assert re.fullmatch(wanted + r'Mend that, or choose another place \(dataset.dir\)', told), told
    assert runs.files_in(tmp_path) == []


def test_file_of_our_own_that_is_missing_is_a_bug(tmp_path: Path) -> None:
    assert explained(FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), '/opt/package/file')) is None
    assert explained(OSError(errno.EIO, os.strerror(errno.EIO), str(tmp_path))) is None


def save_tensors(path: Path) -> None:
    with naming(path), FULL.open('wb') as file:
        torch.save({'weights': torch.zeros(10_000)}, file)


def write_text(path: Path) -> None:
    with naming(path), FULL.open('w') as file:
        file.write('a')


def write_scores(path: Path) -> None:
    path.symlink_to(FULL)
    write_array(path, torch.zeros(10).numpy())


@pytest.mark.parametrize('write', [save_tensors, write_text, write_scores])
def test_failed_write_names_its_file(tmp_path: Path, write: Callable[[Path], None]) -> None:
    with pytest.raises(OSError, match='No space left') as refused:
        write(tmp_path / 'file')
    assert (refused.value.errno, refused.value.filename) == (errno.ENOSPC, str(tmp_path / 'file'))


def test_only_what_living_processes_write_is_left(tmp_path: Path) -> None:
    ended = subprocess.Popen(['true'])
    ended.wait()
    names = {number: tmp_path / 'agg' / f'.{number}.best.json' for number in (ended.pid, os.getppid())}
    (tmp_path / 'agg').mkdir()
    for path in (*names.values(), tmp_path / 'agg' / '.5x.best.json', tmp_path / 'best.json'):
        path.touch()
    delete_left(tmp_path)
    assert not names[ended.pid].exists()
    assert {path.name for path in tmp_path.rglob('*best.json')} == {
        names[os.getppid()].name, '.5x.best.json', 'best.json'
    }  # fmt: skip


def test_temporary_file_is_not_what_is_named(tmp_path: Path) -> None:
    (tmp_path / 'folder').mkdir()
    with pytest.raises(IsADirectoryError) as refused, written(tmp_path / 'folder') as temporary:
        temporary.write_text('a')
    assert refused.value.filename == str(tmp_path / 'folder') and refused.value.filename2 is None


def test_other_errors_in_a_written_file_stay_what_they_are(tmp_path: Path) -> None:
    for error in (RuntimeError('a bug'), MissingFileError('no scores'), KeyError('a bug')):
        with pytest.raises(type(error)) as found, written(tmp_path / 'file'):
            raise error
        assert found.value is error
    assert runs.files_in(tmp_path) == []


def limit(size: int) -> None:
    """No file may be larger than these bytes: a write beyond fails as on a full disk."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


# In the order in which a run writes: config, curves of TensorBoard, scores.
@pytest.mark.parametrize(('size', 'what'), [(1000, 'config.yaml'), (4000, '0')])
def test_run_that_cannot_write_says_which_file_and_goes_on_later(
    tmp_path: Path, size: int, what: str
) -> None:
    code, output = runs.run_elsewhere('Exphormer', tmp_path, SHORT, partial(limit, size))
    folder = tmp_path / runs.CONFIGS['Exphormer'].stem / '0'
    assert code == 1 and 'Traceback' not in output, output
    named = folder / what if what != '0' else folder
    assert f'error: {named} cannot be used: it would be larger than a file may be there' in output
    assert output.endswith('choose another place (out_dir)\n')
    assert not [name for name in runs.files_in(folder) if Path(name).name.startswith('.')]
    runs.run('Exphormer', tmp_path, SHORT)
    assert runs.summary(folder)['epochs'] == 2


def seal(folder: Path) -> None:
    """From now on the folder is as on a read-only disk, for this process."""

    def audit(event: str, arguments: tuple[Any, ...]) -> None:
        writes = {'open': 2, 'os.mkdir': 0, 'os.rename': 0, 'os.remove': 0, 'os.chmod': 0}
        if event not in writes or not str(arguments[0]).startswith(str(folder)):
            return
        if event != 'open' or arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(arguments[0]))

    sys.addaudithook(audit)


def test_read_only_folder_is_a_message(tmp_path: Path) -> None:
    code, output = runs.run_elsewhere('Exphormer', tmp_path, SHORT, partial(seal, tmp_path))
    assert code == 1 and 'Traceback' not in output, output
    assert 'the file system is read-only. Mend that, or choose another place (out_dir)' in output


def test_finished_run_on_a_read_only_disk_is_read(tmp_path: Path) -> None:
    folder = runs.run('Exphormer', tmp_path, SHORT)
    before = runs.files_in(tmp_path)
    code, output = runs.run_elsewhere('Exphormer', tmp_path, SHORT, partial(seal, folder))
    assert code == 0, output
    assert f'{folder}: test auc ' in output and {*runs.files_in(tmp_path)} == {*before, 'output.txt'}
