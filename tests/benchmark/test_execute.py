"""Runs as processes: order, failures, interruption, devices. Stand-ins for training take milliseconds."""

from __future__ import annotations

import fcntl
import json
import os
import shlex
import signal
import sys
import threading
import time
from pathlib import Path

import fake_runs
import pytest
import torch

from graphgps_ext.benchmark.devices import Device, places
from graphgps_ext.benchmark.execute import Outcome, command, execute, log_file
from graphgps_ext.benchmark.plan import Run, finished_runs
from graphgps_ext.benchmark.progress import Progress, clock
from graphgps_ext.errors import UserError
from graphgps_ext.signals import Stopped, stoppable
from graphgps_ext.train.results import finish as mark_finished

CPU = Device('cpu')


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """The folder of a benchmark; what stands in `<model>.py` there is done by the runs of that model."""
    (tmp_path / 'out').mkdir()
    return tmp_path / 'out'


def stand_in(arguments: list[str]) -> int:
    """Instead of training: notes its start, does what `<model>.py` says or finishes, and notes its end."""
    keys = dict(zip(arguments[3::2], arguments[4::2], strict=True))
    config = Path(arguments[2])
    out, model = config.parents[2], config.stem

    def finish() -> None:
        folder = Path(keys['out_dir']) / model / keys['train.run_id']
        folder.mkdir(parents=True)
        (folder / 'summary.json').write_text(json.dumps(fake_runs.summary(0.5)))
        mark_finished(folder)

    def wait_for(line: str) -> None:
        while line not in notes(out):
            time.sleep(0.01)

    note(out, f'start {model}')
    code = out / f'{model}.py'
    exec(code.read_text() if code.exists() else 'finish()', {'finish': finish, 'wait_for': wait_for})
    note(out, f'end {model}')
    return 0


def note(out: Path, line: str) -> None:
    with (out / 'notes').open('a') as file:
        file.write(f'{line}\n')


def instead(out: Path, model: str, code: str) -> None:
    (out / f'{model}.py').write_text(code)


def carry_out(runs: list[Run], out: Path, jobs: int = 1, done: set[str] | None = None) -> Outcome:
    done = done or set()
    progress = Progress(runs, done, out, jobs)
    try:
        return execute(runs, done, out, [CPU] * jobs, progress, stand_in)
    finally:
        progress.close()


def notes(out: Path) -> list[str]:
    return (out / 'notes').read_text().splitlines()


def models(tmp_path: Path, *names: str) -> list[Run]:
    for name in names:
        fake_runs.write_config(tmp_path / f'configs/{name}/actor-{name}.yaml')
    return fake_runs.plan(tmp_path / 'configs')


def test_stage_2_starts_when_its_estimator_has_ended_and_others_do_not_wait(
    tmp_path: Path, out: Path
) -> None:
    fake_runs.write_pair(tmp_path / 'configs')
    runs = models(tmp_path, 'GCN')
    assert [run.config.name.model for run in runs] == ['Spexphormer-estimator', 'GCN', 'Spexphormer']
    instead(out, 'Spexphormer-estimator', "wait_for('start GCN'); finish()")
    outcome = carry_out(runs, out, jobs=3)
    assert sorted(outcome.done) == sorted(map(str, runs)) and not outcome.failed
    told = notes(out)
    assert told.index('start GCN') < told.index('end Spexphormer-estimator') < told.index('start Spexphormer')


@pytest.mark.parametrize('jobs', [1, 2])
def test_no_more_runs_at_a_time_than_asked_for(tmp_path: Path, out: Path, jobs: int) -> None:
    if jobs == 2:
        instead(out, 'A', "wait_for('start B'); finish()")
        instead(out, 'B', "wait_for('start A'); finish()")
    carry_out(models(tmp_path, 'A', 'B', 'C', 'D'), out, jobs=jobs)
    running, most = 0, 0
    for line in notes(out):
        running += 1 if line.startswith('start') else -1
        most = max(most, running)
    assert most == jobs


def test_failure_stops_only_what_needs_it_and_is_reported_with_its_log(
    tmp_path: Path, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    instead(out, 'Spexphormer-estimator', "import sys; print('noise'); sys.exit('error: no such file')")
    instead(out, 'A', "raise RuntimeError('out of luck')")
    fake_runs.write_pair(tmp_path / 'configs')
    runs = models(tmp_path, 'A', 'B')
    outcome = carry_out(runs, out)
    log = log_file(runs[0], out)
    assert outcome.done == ['actor/B/split-0-seed-0']
    assert outcome.failed == {
        'actor/Spexphormer-estimator/split-0-seed-0': f'no such file; {log}',
        'actor/A/split-0-seed-0': f'RuntimeError: out of luck; {out}/logs/actor/A/split-0-seed-0.log',
        'actor/Spexphormer/split-0-seed-0': 'needs actor/Spexphormer-estimator/split-0-seed-0, which failed',
    }
    assert 'noise' in log.read_text()
    printed = capsys.readouterr().out
    assert printed.count('FAILED') == 3 and '[4/4]' in printed


def test_killed_run_is_told_from_one_that_ends_with_an_error(tmp_path: Path, out: Path) -> None:
    instead(out, 'A', 'import os; os.kill(os.getpid(), 9)')
    instead(out, 'B', 'pass')  # ends well, but leaves no result
    outcome = carry_out(models(tmp_path, 'A', 'B'), out)
    assert outcome.failed['actor/A/split-0-seed-0'].startswith('killed, most likely for lack of memory; ')
    assert 'actor/B/split-0-seed-0' in outcome.failed


def test_reason_is_that_of_the_last_attempt(tmp_path: Path, out: Path) -> None:
    runs = models(tmp_path, 'A')
    for reason in ('first', 'second'):
        instead(out, 'A', f"import sys; sys.exit('error: {reason}')")
        outcome = carry_out(runs, out)
    assert outcome.failed[str(runs[0])].startswith('second; ')
    instead(out, 'A', "raise ValueError('third')")
    assert carry_out(runs, out).failed[str(runs[0])].startswith('ValueError: third; ')


def test_finished_runs_are_skipped_and_failed_ones_tried_again(tmp_path: Path, out: Path) -> None:
    runs = models(tmp_path, 'A', 'B')
    instead(out, 'B', 'raise ValueError')
    fake_runs.finish(runs[0], out)
    done = finished_runs(runs, out)
    assert done == {str(runs[0])}
    assert carry_out(runs, out, done=done).done == []
    (out / 'B.py').unlink()
    assert carry_out(runs, out, done=done).done == [str(runs[1])]
    assert 'start A' not in notes(out)


def test_ctrl_c_ends_children_as_it_would_them_and_leaves_the_rest(tmp_path: Path, out: Path) -> None:
    mark = out / 'interrupted'
    code = (
        'import os, sys, time\n'
        f"open({str(out / 'pid')!r}, 'w').write(str(os.getpid()))\n"
        'try:\n    time.sleep(60)\n'
        f'except KeyboardInterrupt:\n    open({str(mark)!r}, "w").close(); sys.exit(1)\n'
    )
    instead(out, 'A', code)
    runs = models(tmp_path, 'A', 'B')
    threading.Thread(target=_interrupt_when_there, args=(out / 'pid',), daemon=True).start()
    with stoppable():
        outcome = carry_out(runs, out)
    assert isinstance(outcome.interrupted, Stopped) and outcome.interrupted.status == 143
    assert not outcome.done and not outcome.failed
    assert mark.exists()
    with pytest.raises(ProcessLookupError):
        os.kill(int((out / 'pid').read_text()), 0)


def _interrupt_when_there(path: Path) -> None:
    while not (path.exists() and path.read_text()):
        time.sleep(0.02)
    time.sleep(0.1)
    os.kill(os.getpid(), signal.SIGTERM)  # what a cluster sends; Ctrl-C is SIGINT


def test_run_in_progress_elsewhere_is_left_alone(tmp_path: Path, out: Path) -> None:
    runs = models(tmp_path, 'A', 'B')
    log = log_file(runs[0], out)
    log.parent.mkdir(parents=True)
    with log.open('ab') as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        outcome = carry_out(runs, out)
    assert outcome.failed == {str(runs[0]): 'is running in another process at this moment'}
    assert outcome.done == [str(runs[1])]
    assert carry_out(runs, out, done={str(runs[1])}).done == [str(runs[0])]


def test_command_is_train_with_the_config_the_run_and_the_device(tmp_path: Path, out: Path) -> None:
    (run,) = models(tmp_path, 'A')
    line = command(run, out, Device('cuda:1', threads=2))
    assert line[:3] == ['train', '--cfg', str(out / 'configs/actor/A.yaml')]
    keys = dict(zip(line[3::2], line[4::2], strict=True))
    assert keys['train.run_id'] == 'split-0-seed-0' and keys['out_dir'] == str(out / 'actor')
    assert (keys['accelerator'], keys['devices'], keys['num_threads']) == ('cuda', '1', '2')


def test_log_begins_with_the_command_that_repeats_the_run(tmp_path: Path, out: Path) -> None:
    (run,) = models(tmp_path, 'A')
    carry_out([run], out)
    first, *_ = log_file(run, out).read_text().splitlines()
    python = ['$', 'CUDA_VISIBLE_DEVICES=', sys.executable, '-m', 'graphgps_ext']
    assert shlex.split(first) == [*python, *command(run, out, CPU)]


def test_each_process_sees_its_own_gpu_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv('CUDA_VISIBLE_DEVICES', raising=False)
    assert Device('cuda:1').environment() == {'CUDA_VISIBLE_DEVICES': '1'}
    monkeypatch.setenv('CUDA_VISIBLE_DEVICES', '4,6')
    assert Device('cuda:1').environment() == {'CUDA_VISIBLE_DEVICES': '6'}
    assert CPU.environment() == {'CUDA_VISIBLE_DEVICES': ''}


def test_jobs_are_dealt_to_the_devices_and_share_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, 'cpu_count', lambda: 8)
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    monkeypatch.setattr(torch.cuda, 'device_count', lambda: 2)
    assert places('cuda:1,cuda:0', 3) == [Device('cuda:1', 2), Device('cuda:0', 2), Device('cuda:1', 2)]
    assert places('cuda', 0) == places('auto', 0) == [Device('cuda:0', 4), Device('cuda:1', 4)]
    assert places('cpu', 0) == [CPU]
    with pytest.raises(UserError, match='--devices needs some of cpu, cuda:0, cuda:1, got cuda:2, gpu'):
        places('cuda:2,cpu,gpu', 0)
    with pytest.raises(UserError, match='--devices needs different names'):
        places('cpu,cpu', 0)
    with pytest.raises(UserError, match='--jobs needs to be at least 1, got -1'):
        places('cpu', -1)


def test_gpu_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    with pytest.raises(UserError, match='--devices needs some of cpu, got cuda'):
        places('cuda', 0)


def test_time_left_is_that_of_like_runs_and_of_the_epochs_done(tmp_path: Path, out: Path) -> None:
    runs = models(tmp_path, 'A', 'B', 'C')
    progress = Progress(runs, set(), out, jobs=1)
    left = progress._seconds_left
    assert left([], [], runs) is None
    progress.seconds = {'actor/A': [10.0, 30.0, 20.0], 'actor/B': [40.0]}
    assert left([], [], runs) == 20 + 40 + 30  # of C nothing is known: the mean
    # C has done a quarter in 15 s: 45 s are left of it.
    assert left([(runs[2], 15.0)], [0.25], []) == 45
    progress.jobs = 2
    assert left([(runs[0], 15.0)], [0.0], [runs[1]]) == (5 + 40) / 2
    progress.close()


def test_durations_are_readable() -> None:
    assert [clock(seconds) for seconds in (4.4, 65, 7260)] == ['4 s', '1:05 min', '2:01 h']
