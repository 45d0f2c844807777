"""What the campaign calls good and bad: each bad end is seen when there is one."""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from faults import cases, oracle
from faults.damage import SENTINEL, Malicious
from faults.fault import FRESH, REFUSED, Fault
from faults.inputs import STAGES
from faults.oracle import Ended, Outcome
from faults.processes import all_gone, ended, forked, processes_in, side_by_side
from faults.world import Place
from graphgps_ext.errors import ConfigError

CLEAR = Ended(1, 'error: results/graph.npz is cut: write it again')


@pytest.mark.parametrize(
    ('ended_as', 'kind'),
    [
        (CLEAR, oracle.ERROR),
        (Ended(2, 'usage: x\nx: error: unrecognized graph.npz'), oracle.ERROR),
        (Ended(None, 'Traceback (most recent call last):\n ...graph.npz'), oracle.TRACE),
        (Ended(1, 'error: graph.npz\nTraceback (most recent call last):'), oracle.TRACE),
        (Ended(1, 'graph.npz is cut'), oracle.UNCLEAR),
        (Ended(1, 'error: something unexpected went wrong'), oracle.UNCLEAR),
        (Ended(1, 'error: x holds NaN'), oracle.ERROR),
        (Ended(3, 'error: graph.npz'), oracle.UNCLEAR),
    ],
)
def test_an_error_is_clear_if_it_is_said_and_names_something(ended_as: Ended, kind: str) -> None:
    assert oracle.error(ended_as, ['graph.npz', 'x']).kind == kind


def refuses() -> int:
    raise ConfigError('gt.layers needs to be at least 1')


def breaks() -> int:
    raise IndexError('list index out of range')


def leaves() -> int:
    sys.exit('error: a text')


def fails_with_status() -> int:
    print('usage: error: something', file=sys.stderr)
    sys.exit(2)


@pytest.mark.parametrize(
    ('command', 'code', 'said'),
    [
        (lambda: 0, 0, ''),
        (lambda: None, 0, ''),
        (leaves, 1, 'error: a text'),
        (fails_with_status, 2, 'usage: error: something\n'),
        (breaks, None, 'IndexError: list index out of range'),
        (refuses, None, 'ConfigError'),  # no command has told it to the user
    ],
)
def test_a_command_is_watched(command: Callable[[], int | None], code: int | None, said: str) -> None:
    found = oracle.watched(command)
    assert found.code == code and said in found.said


# --- processes ---


def unpickles(path: Path) -> int:
    np.load(path, allow_pickle=True)
    return 0


def loops() -> int:
    time.sleep(300)
    return 0


def dies() -> int:
    os.abort()


def test_hangs_crashes_and_code_of_files_are_seen(tmp_path: Path) -> None:
    np.save(tmp_path / 'objects.npy', np.array([Malicious()], dtype=object), allow_pickle=True)
    calls = {
        'loops': loops,
        'dies': dies,
        'unpickles': partial(unpickles, tmp_path / 'objects.npy'),
        'ends': int,
    }
    limits = {'loops': 0.5}
    every = [(name, call, tmp_path / name, limits.get(name, 60.0)) for name, call in calls.items()]
    found = {
        name: oracle.of_process(code, output, tmp_path / name)
        for name, code, output, _ in side_by_side(every, jobs=2)
    }
    kinds = {name: outcome and outcome.kind for name, outcome in found.items()}
    assert kinds == {'loops': oracle.HANG, 'dies': oracle.TRACE, 'unpickles': oracle.CODE, 'ends': None}


def test_code_is_seen_wherever_it_was_run(tmp_path: Path) -> None:
    (tmp_path / 'deep').mkdir()
    (tmp_path / 'deep' / SENTINEL).touch()
    outcome = oracle.of_process(0, '', tmp_path)
    assert outcome is not None and outcome.kind == oracle.CODE


def sleeps_in(folder: Path) -> int:
    os.chdir(folder)
    time.sleep(60)
    return 0


def test_processes_that_are_left_over_are_seen(tmp_path: Path) -> None:
    (tmp_path / 'below').mkdir()
    pid = forked(partial(sleeps_in, tmp_path / 'below'))
    deadline = time.monotonic() + 20
    while not processes_in(tmp_path):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert processes_in(tmp_path) == [pid] and not all_gone(tmp_path, 0.2)
    assert ended(pid, 0) is None
    assert all_gone(tmp_path, 5)


# --- results ---


@pytest.fixture
def results(world: Path, tmp_path: Path) -> tuple[Path, Path]:
    """The right results, and a copy of them."""
    right = world / 'runs' / 'mine' / 'done'
    shutil.copytree(right, tmp_path / 'results')
    return right, tmp_path / 'results'


def in_json(change: Callable[[dict], None], path: Path) -> None:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def other_number(run: Path) -> None:
    in_json(lambda content: content['test'].update(auc=0.123), run / 'summary.json')


def no_number(run: Path) -> None:
    in_json(lambda content: content['test'].update(auc=float('nan')), run / 'summary.json')


def other_epoch(run: Path) -> None:
    path = run / 'val' / 'stats.json'
    path.write_text(path.read_text() * 2)


def other_scores(run: Path) -> None:
    layer = np.load(run / 'scores' / 'layer_1.npy')
    np.save(run / 'scores' / 'layer_1.npy', layer[::-1])


def no_summary(run: Path) -> None:
    (run / 'summary.json').unlink()


def other_mean(run: Path) -> None:
    in_json(lambda content: content.update(runs=2), run.parent / 'agg' / 'test' / 'best.json')


@pytest.mark.parametrize(
    'change', [other_number, no_number, other_epoch, other_scores, no_summary, other_mean]
)
def test_other_results_are_seen(results: tuple[Path, Path], change: Callable[[Path], None]) -> None:
    assert not oracle.difference(*results, STAGES, alone=True)
    change(results[1] / 'estimator' / '0')
    assert oracle.difference(*results, STAGES, alone=True)


def test_no_results_at_all_are_not_equal(tmp_path: Path) -> None:
    assert oracle.difference(tmp_path, tmp_path, STAGES, alone=True) == 'estimator, spexphormer has no result'


def test_a_key_that_was_not_taken_is_seen(results: tuple[Path, Path]) -> None:
    given = ['gt.dim_hidden', '8', 'spex.layer_degrees', '(3, 2)', 'seed', '0']
    assert not oracle.not_as_given(results[1], ['spexphormer'], given)
    told = oracle.not_as_given(results[1], ['spexphormer'], ['gt.dim_hidden', '16'])
    assert told == "gt.dim_hidden 8 was used, '16' was given"


# --- cases ---


@pytest.fixture
def place(world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    """A place with both stages done."""
    found = Place(world, tmp_path / 'place')
    found.lay('both done')
    monkeypatch.chdir(found.folder)
    return found


FAULT = Fault('', ('graph.npz',))


def judged(
    place: Place, fault: Fault, command: Callable[..., Ended], monkeypatch: pytest.MonkeyPatch
) -> Outcome:
    monkeypatch.setattr(cases, 'ran', command)
    return cases.judged(place, fault, follow=True)


def test_results_of_commands_are_compared(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    assert judged(place, FAULT, lambda *_: Ended(0), monkeypatch).kind == oracle.EQUAL
    refused = Fault('', ('graph.npz',), REFUSED)
    assert judged(place, refused, lambda *_: Ended(0), monkeypatch).kind == oracle.WRONG
    other_number(place.run_dir('spexphormer'))
    assert judged(place, FAULT, lambda *_: Ended(0), monkeypatch).kind == oracle.WRONG


def test_stale_results_are_seen(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Other data under the same path: what a run in an empty folder finds is what is right."""

    def command(config: str, *keys: str) -> Ended:
        if Path.cwd().name == FRESH:
            other = place.world / 'runs' / 'other data' / 'done' / config
            shutil.copytree(other, Path('results') / config, dirs_exist_ok=True)
        return Ended(0)

    fault = Fault('', ('graph.npz',), FRESH)
    assert judged(place, fault, command, monkeypatch).kind == oracle.WRONG


def test_advice_is_followed(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    other_number(place.run_dir('estimator'))
    right = place.world / 'runs' / 'mine' / 'done' / 'estimator'
    told = f'error: graph.npz: delete {place.run_dir("estimator")} to train again'

    def command(config: str, *keys: str, helps: bool = True) -> Ended:
        if config == 'estimator' and place.run_dir('estimator').exists():
            return Ended(1, told)
        if config == 'estimator' and helps:
            shutil.copytree(right / '0', place.run_dir('estimator'))
        return Ended(0)

    assert judged(place, FAULT, command, monkeypatch) == Outcome(oracle.ERROR, told)
    useless = judged(place, FAULT, partial(command, helps=False), monkeypatch)
    assert useless.kind == oracle.ADVICE


def test_advice_is_read_from_messages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path('ckpt').mkdir()
    assert oracle.advice('delete ckpt to train again').deletes == (Path('ckpt'),)
    assert oracle.advice('Set out_dir to another folder, or train.overwrite True to delete them.').overwrite
    assert oracle.advice('layer_0.npy is damaged (run stage 1 again, key spex.estimator)').stage_1
    assert not oracle.advice('delete what is not there; write it anew')
