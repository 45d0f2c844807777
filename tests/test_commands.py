"""The commands: what is a message and what a trace, how they are called, where they look for configs."""

from __future__ import annotations

import errno
import functools
import os
import runpy
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import runs

from graphgps_ext.benchmark import workers
from graphgps_ext.commands import COMMANDS, main
from graphgps_ext.config.shipped import find_config
from graphgps_ext.errors import MissingFileError


def raises(error: Exception) -> Callable[..., None]:
    def work(*args: object, **kwargs: object) -> None:
        raise error

    return work


@pytest.mark.parametrize(
    'error', [RuntimeError('a bug'), ValueError('a bug'), OSError(errno.EIO, 'a bug'), TypeError('a bug')]
)
def test_bug_is_shown_with_its_trace_wherever_it_was_raised(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    monkeypatch.setattr('graphgps_ext.train.runs.load_graph', raises(error))
    with pytest.raises(type(error), match='a bug'):
        runs.run('estimator', tmp_path)


@pytest.mark.parametrize('number', [errno.ENOSPC, errno.EACCES, errno.EROFS])
def test_what_the_system_refuses_is_a_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    error = OSError(number, os.strerror(number), 'some/file')
    monkeypatch.setattr('graphgps_ext.train.runs.load_graph', raises(error))
    told = runs.refusal('estimator', tmp_path)
    assert told == f"error: [Errno {number}] {os.strerror(number)}: 'some/file'"
    assert runs.files_in(tmp_path) == []


def interrupted(*args: object, **kwargs: object) -> None:
    """What Ctrl-C does to any function."""
    raise KeyboardInterrupt


def interrupt(name: str) -> None:
    """Lets a function of torch be where Ctrl-C comes."""
    pytest.MonkeyPatch().setattr(name, interrupted)


@pytest.mark.parametrize('where', ['torch.nn.Linear.forward', 'torch.set_num_threads'])
def test_ctrl_c_is_a_message_and_no_trace(tmp_path: Path, where: str) -> None:
    code, output = runs.run_elsewhere(
        'estimator', tmp_path, {'print': 'both'}, prepare=functools.partial(interrupt, where)
    )
    assert code > 0 and 'Traceback' not in output
    assert 'interrupted: the same command goes on where it stopped' in output


def test_config_is_found_by_name_from_any_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    name = 'Spexphormer/minesweeper-grid-estimator'
    assert find_config(name) == find_config(f'configs/{name}.yaml') == runs.CONFIGS['estimator']
    own = tmp_path / name
    own.parent.mkdir()
    own.touch()
    assert find_config(name) == Path(name)
    with pytest.raises(MissingFileError) as caught:
        find_config('Spexphormer/minesweeper-grid-estimater')
    told, near = str(caught.value).split('; ')
    assert told == 'there is no config file Spexphormer/minesweeper-grid-estimater (--cfg)'
    assert near.startswith(f'shipped under names like it: {name}, ')
    with pytest.raises(MissingFileError, match=r'no config file x \(--space\)$'):
        find_config('x', '--space')


def test_first_argument_names_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match='0'):
        main(['--help'])
    told = capsys.readouterr().out
    assert all(f'{name:10} {does}' in told for name, does in COMMANDS.items())
    with pytest.raises(SystemExit, match='2'):
        main(['tain'])
    told = capsys.readouterr().err
    assert "invalid choice: 'tain'" in told and all(name in told for name in COMMANDS)


def run_script(path: Path) -> None:
    sys.argv = [str(path), '--help']
    runpy.run_path(str(path), run_name='__main__')


@pytest.mark.parametrize(
    ('script', 'command'),
    [('main', 'train'), ('benchmark', 'benchmark'), ('tune', 'tune'), ('analyze', 'analyze')],
)
def test_scripts_are_the_commands(tmp_path: Path, script: str, command: str) -> None:
    worker = workers.start(
        functools.partial(run_script, runs.REPOSITORY / 'run' / f'{script}.py'), log=tmp_path / 'log'
    )
    assert workers.wait([worker], seconds=120) and worker.code == 0
    assert f'graphgps-ext {command} ' in (tmp_path / 'log').read_text()
