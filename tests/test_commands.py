"""The commands: what is a message and what a trace, how they are called, where they look for configs."""

from __future__ import annotations

import contextlib
import errno
import functools
import io
import logging
import os
import resource
import runpy
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import runs
import torch
from torch_geometric.data import Data
from yacs.config import CfgNode

from graphgps_ext.benchmark import workers
from graphgps_ext.commands import COMMANDS, guarded, main
from graphgps_ext.config.shipped import find_config
from graphgps_ext.errors import MissingFileError, ShortOfMemoryError
from graphgps_ext.train.shortage import shortage_explained


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


@pytest.mark.parametrize(
    ('error', 'key'),
    [
        (MemoryError('Unable to allocate 3.64 TiB for an array'), 'a smaller gt.dim_hidden or gt.layers'),
        (torch.OutOfMemoryError('CUDA out of memory. Tried to allocate 2.00 GiB.'), 'accelerator cpu'),
        (
            RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes."),
            'bf16-mixed',
        ),
        (RuntimeError('DataLoader worker (pid 7) is killed by signal: Killed.'), 'a smaller prep.exp_deg'),
    ],
)
def test_lack_of_memory_names_sizes_and_keys(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, key: str
) -> None:
    monkeypatch.setattr('graphgps_ext.train.runs.load_graph', raises(error))
    told = runs.refusal('estimator', tmp_path)
    assert told.startswith(f'error: not enough memory: {error}\nIt was asked for by ')
    assert 'gt.dim_hidden 4, gt.layers 2, prep.exp_deg 2, gt.n_heads ' in told
    assert key in told.splitlines()[-1]


def test_lack_of_memory_with_the_graph_at_hand(graphgym_cfg: CfgNode) -> None:
    graphgym_cfg.train.mode, graphgym_cfg.train.precision = 'spexphormer', 'bf16-mixed'
    data = Data(x=torch.zeros(1200, 3))
    data.layers = [SimpleNamespace(num_edges=34_000)]
    with pytest.raises(ShortOfMemoryError) as told, shortage_explained(data):
        raise torch.OutOfMemoryError('CUDA out of memory. Tried to allocate 2.00 GiB.')
    assert '1,200 nodes, 34,000 attention edges, ' in str(told.value)
    shrink = str(told.value).splitlines()[-1]
    assert 'spex_neighbor, which take train.batch_size nodes' in shrink and 'bf16' not in shrink
    bug = RuntimeError('mat1 and mat2 shapes cannot be multiplied')
    with pytest.raises(RuntimeError) as found, shortage_explained(data):
        raise bug
    assert found.value is bug


def test_memory_that_is_not_there_is_a_message(tmp_path: Path) -> None:
    code, output = runs.run_elsewhere('estimator', tmp_path, {'dataset.grid_side': 600}, limit_memory)
    assert code == 1 and 'Traceback' not in output, output
    assert 'error: not enough memory: ' in output and 'Less is needed with ' in output


def limit_memory() -> None:
    """Some 20 MB more than there is now."""
    used = int(Path('/proc/self/statm').read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + 2 * 10**7, resource.RLIM_INFINITY))


def of_no_reader() -> int | None:
    reader, writer = os.pipe()
    os.close(reader)
    sys.stdout = os.fdopen(writer, 'w')
    return guarded(lambda: print('a' * 100_000, flush=True))


def test_end_of_the_reader_of_the_output_is_no_error(tmp_path: Path) -> None:
    worker = workers.start(of_no_reader, log=tmp_path / 'log')
    assert workers.wait([worker], seconds=120) and worker.code == 141
    assert (tmp_path / 'log').read_text().count('\n') == 1  # that of the command


def test_signs_that_the_terminal_does_not_know_are_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal = io.TextIOWrapper(io.BytesIO(), encoding='ascii')
    log = logging.FileHandler(tmp_path / 'log', encoding='ascii')
    monkeypatch.setattr(sys, 'stdout', terminal)

    def work() -> None:
        print('0.5 ± 0.1', flush=True)
        log.handle(logging.LogRecord('', logging.INFO, '', 0, 'τ 0.5', None, None))

    guarded(work)
    log.close()
    assert terminal.buffer.getvalue() == b'0.5 ? 0.1\n'
    assert (tmp_path / 'log').read_text() == '? 0.5\n'


def test_log_that_cannot_be_written_ends_the_command() -> None:
    log = logging.FileHandler('/dev/full')

    def work() -> None:
        log.handle(logging.LogRecord('', logging.INFO, '', 0, 'a', None, None))

    with pytest.raises(SystemExit, match='error: /dev/full cannot be used: the disk is full'):
        guarded(work)
    with contextlib.suppress(OSError):  # what is left in its buffer
        log.close()


def test_error_of_a_thread_is_told_once(capsys: pytest.CaptureFixture[str]) -> None:
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), 'events')

    def work() -> None:
        for error in (full, RuntimeError('a bug')):
            thread = threading.Thread(target=raises(error))
            thread.start()
            thread.join()
        raise full

    with pytest.raises(SystemExit, match='the disk is full'):
        guarded(work)
    told = capsys.readouterr().err
    assert 'No space' not in told and told.count('Traceback') == 1 and 'RuntimeError: a bug' in told


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
