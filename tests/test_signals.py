"""Signals that ask a process to end: a message, a status that tells of it, no process left, nothing lost."""

from __future__ import annotations

import functools
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import runs

from graphgps_ext.benchmark import workers
from graphgps_ext.commands import guarded, tune
from graphgps_ext.signals import Stopped, stoppable

WORDS = {
    signal.SIGTERM: 'terminated: the same command goes on where it stopped',
    signal.SIGHUP: 'the terminal was closed: the same command goes on where it stopped',
    signal.SIGINT: 'interrupted: the same command goes on where it stopped',
}
SHORT = {'optim.max_epoch': 3, 'train.ckpt_period': 1}
MOMENTS = {
    'data': 'graphgps_ext.train.runs.load_graph',
    'network': 'torch.nn.Linear.forward',
    'checkpoint': 'torch.save',
    'report': 'graphgps_ext.train.report.probabilities',
}


def asked(*numbers: int) -> Callable[..., None]:
    def work(*args: object, **kwargs: object) -> None:
        for number in numbers:
            os.kill(os.getpid(), number)
        time.sleep(60)

    return work


def ask(name: str, *numbers: int) -> None:
    """Lets a function be where signals come."""
    pytest.MonkeyPatch().setattr(name, asked(*numbers))


@pytest.mark.parametrize(
    ('moment', 'number'),
    [*((moment, signal.SIGTERM) for moment in MOMENTS), ('network', signal.SIGHUP), ('data', signal.SIGINT)],
)
def test_run_that_is_asked_to_end_says_so_and_goes_on_later(
    tmp_path: Path, moment: str, number: signal.Signals
) -> None:
    prepare = functools.partial(ask, MOMENTS[moment], number, number)  # a scheduler's comes twice
    code, output = runs.run_elsewhere('Exphormer', tmp_path / 'one', SHORT, prepare)
    assert code == 128 + number
    assert output.splitlines()[-1] == WORDS[number] and 'Traceback' not in output
    folder = runs.run('Exphormer', tmp_path / 'one', SHORT)
    assert runs.summary(folder / '0')['epochs'] == 3


def of_group(mark: Path) -> None:
    """In the second epoch the whole group of the process is told, loader and all."""
    from graphgps_ext.train import fit

    step = fit.train_step

    def train_step(training: Any, *args: Any, **kwargs: Any) -> None:
        step(training, *args, **kwargs)
        if training.epoch == 1:
            children = multiprocessing.active_children()
            assert children
            mark.write_text(' '.join(str(child.pid) for child in children))
            os.killpg(os.getpgrp(), signal.SIGTERM)
            time.sleep(60)

    fit.train_step = train_step


def test_workers_of_the_loader_end_with_the_run(tmp_path: Path) -> None:
    changes = {**SHORT, 'spex.strategy': 'uniform', 'spex.estimator': '', 'num_workers': 1}
    changes |= {'train.sampler': 'spex_neighbor', 'val.sampler': 'spex_neighbor', 'train.batch_size': 64}
    mark = tmp_path / 'mark'
    code, output = runs.run_elsewhere('spexphormer', tmp_path, changes, functools.partial(of_group, mark))
    assert code == 143 and 'Traceback' not in output, output
    assert output.endswith(WORDS[signal.SIGTERM] + '\n')
    for pid in map(int, mark.read_text().split()):
        wait_for_end(pid)


def wait_for_end(pid: int) -> None:
    deadline = time.monotonic() + 15
    while is_alive(pid):
        assert time.monotonic() < deadline, f'{pid} is alive'
        time.sleep(0.01)


def is_alive(pid: int) -> bool:
    try:
        return Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()[0] != 'Z'
    except OSError:
        return False


def wait_for_text(path: Path) -> str:
    deadline = time.monotonic() + 60
    while not (path.exists() and path.read_text()):
        assert time.monotonic() < deadline, f'{path} is not written'
        time.sleep(0.01)
    return path.read_text()


def test_second_request_is_the_first_unless_it_comes_later(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([10.0, 10.5, 12.0])
    monkeypatch.setattr('graphgps_ext.signals.time.monotonic', lambda: next(clock))
    before = signal.getsignal(signal.SIGTERM)
    with stoppable() as came:
        with pytest.raises(Stopped) as stopped:
            os.kill(os.getpid(), signal.SIGTERM)
        assert stopped.value.status == 143
        os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(Stopped):
            os.kill(os.getpid(), signal.SIGTERM)
    assert came == [signal.SIGTERM] * 2 and signal.getsignal(signal.SIGTERM) is before


def test_what_was_ignored_stays_so() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with stoppable() as came:
            os.kill(os.getpid(), signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)
    assert came == []


def test_error_that_comes_of_the_request_is_not_a_bug(capsys: pytest.CaptureFixture[str]) -> None:
    def work() -> None:
        try:
            os.kill(os.getpid(), signal.SIGTERM)
        except Stopped:
            raise RuntimeError('DataLoader worker (pid 1) is killed by signal: Terminated.') from None

    with pytest.raises(SystemExit, match='143'):
        guarded(work)
    assert capsys.readouterr().err == WORDS[signal.SIGTERM] + '\n'


def sleep(mark: Path) -> None:
    mark.write_text(str(os.getpid()))
    time.sleep(60)


def parent_of_one(mark: Path) -> None:
    """Starts a worker, as a benchmark, a search or a family does, and waits for it."""
    work = (functools.partial(guarded, functools.partial(sleep, mark)), mark.with_name('log'), '')
    fork = multiprocessing.get_context('fork')  # the server of this process is that of its parent
    child = fork.Process(target=workers._work, args=(*work, dict(os.environ), Path.cwd(), None))
    child.start()
    child.join()


def test_worker_ends_when_its_parent_is_killed(tmp_path: Path) -> None:
    mark = tmp_path / 'mark'
    parent = workers.start(functools.partial(parent_of_one, mark), log=tmp_path / 'of parent')
    pid = int(wait_for_text(mark))
    assert parent.process.pid is not None
    os.kill(parent.process.pid, signal.SIGKILL)
    wait_for_end(pid)
    assert WORDS[signal.SIGTERM] in (tmp_path / 'log').read_text()


def job(folder: Path, number: int, *rest: object) -> None:
    sleep(folder / str(number))


def test_jobs_of_a_search_end_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tune, 'run_job', functools.partial(job, tmp_path))

    def terminate() -> None:
        for number in (1, 2):
            wait_for_text(tmp_path / str(number))
        os.kill(os.getpid(), signal.SIGTERM)

    thread = threading.Thread(target=terminate)
    thread.start()
    with stoppable(), pytest.raises(Stopped):
        tune.run_jobs(2, 1, {})
    thread.join()
    assert not any(is_alive(int((tmp_path / str(number)).read_text())) for number in (1, 2))


def test_server_is_in_no_group_that_a_terminal_or_a_scheduler_tells(tmp_path: Path) -> None:
    worker = workers.start(functools.partial(note_server, tmp_path / 'mark'), log=tmp_path / 'log')
    workers.wait([worker], seconds=60)
    assert int(wait_for_text(tmp_path / 'mark')) != os.getpgrp()


def note_server(mark: Path) -> None:
    mark.write_text(str(os.getpgid(os.getppid())))


def test_stopping_takes_no_grace_when_ctrl_c_is_ignored(tmp_path: Path) -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # as in a job in the background of a script
    try:
        worker = workers.start(functools.partial(sleep, tmp_path / 'mark'), log=tmp_path / 'log')
        wait_for_text(tmp_path / 'mark')
        start = time.monotonic()
        workers.stop([worker])
    finally:
        signal.signal(signal.SIGINT, before)
    assert worker.code not in (None, -signal.SIGKILL) and time.monotonic() - start < 5
