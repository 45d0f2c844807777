"""Kills at any moment of a command; after which the same command ends as if there had been none."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import yaml
from numpy.random import Generator

from faults.damage import pick
from faults.oracle import EQUAL, HANG, LEFT, TRACE, UNCLEAR, WRONG, Outcome, difference
from faults.processes import LIMIT_SECONDS, all_gone, ended, forked, processes_in
from faults.world import STAGES, Place, train
from graphgps_ext.commands import main

COMMAND_SECONDS = 2 * LIMIT_SECONDS  # for a command that starts a server, which imports everything anew
GRACE_SECONDS = LIMIT_SECONDS  # for the processes of a killed command to end: a server ends after its imports
SPACE = {'gt.dropout': [0.0, 0.5], 'optim.base_lr': [0.01, 0.03]}
TRIALS = 4
BENCHMARK = ('benchmark', 'estimator.yaml', 'spexphormer.yaml', '--out', 'compared', '--devices', 'cpu')
TUNE = (
    'tune',
    '--cfg',
    'estimator.yaml',
    '--space',
    'space.yaml',
    '--study',
    'search.db',
    '--trials',
    str(TRIALS),
)
TIMES = ('seconds', 'waiting', 'peak', 'jobs', 'wall')  # columns of a table that no second run repeats

Kill = Callable[[Place, Generator], tuple[str, Outcome]]


# --- when: before the n-th event of its files, or after some time ---


def _at_event(call: Callable[[], int | None], number: int, how: int, folder: Path) -> int | None:
    """Calls, and is killed before the n-th time that a file of the folder is opened, renamed or removed."""
    left = number

    def hook(event: str, args: tuple[Any, ...]) -> None:
        nonlocal left
        if (
            left
            and event in EVENTS
            and str(args[0]).startswith((str(folder), 'results', 'search', 'compared'))
        ):
            left -= 1
            if not left:
                os.kill(os.getpid(), how)

    sys.addaudithook(hook)
    return call()


EVENTS = ('open', 'os.rename', 'os.remove', 'os.mkdir', 'os.rmdir', 'shutil.rmtree', 'os.truncate')
MOST_EVENTS = 110  # of a stage of three epochs; what comes later finds it ended


def _killed_stage(place: Place, draw: Generator, config: str) -> tuple[str, Outcome]:
    """One to three kills of a stage, then the same command to its end."""
    place.lay('stage 1 done' if config == 'spexphormer' else 'nothing run')
    told = []
    for _ in range(int(draw.integers(1, 4))):
        how = signal.SIGKILL if draw.integers(4) else signal.SIGTERM
        if draw.integers(3):
            number = int(draw.integers(1, MOST_EVENTS))
            code = ended(forked(partial(_at_event, partial(train, config), number, how, place.folder)))
            told.append(f'{how.name} before event {number} of its files')
        else:
            seconds = float(draw.uniform(0, 1.0))
            code = _stopped_after(partial(train, config), seconds, how, group=False)
            told.append(f'{how.name} after {seconds:.2f} s')
        if code is None:
            return '; '.join(told), Outcome(HANG, 'it did not end')
        if how == signal.SIGTERM and code == 0 and not (place.run_dir(config) / 'summary.json').is_file():
            return '; '.join(told), Outcome(UNCLEAR, 'ended by SIGTERM it gives status 0')
    return f'{config}: {"; ".join(told)}', _to_the_end(place, partial(train, config), config)


def _stopped_after(call: Callable[[], int | None], seconds: float, how: int, *, group: bool) -> int | None:
    pid = forked(call)
    time.sleep(seconds)
    (os.killpg if group else os.kill)(pid, how)  # it stays, if only as a zombie, until it is waited for
    return ended(pid, COMMAND_SECONDS)


def _to_the_end(place: Place, call: Callable[[], int | None], config: str) -> Outcome:
    """The same command again, undisturbed; what it has found, and what lies about."""
    code = ended(forked(call))
    if code is None:
        return Outcome(HANG, 'the same command did not end')
    if code != 0:
        return Outcome(TRACE, f'the same command ended with {code}; see {place.folder}')
    right = place.world / 'runs' / 'mine' / 'done'
    if differs := difference(right, place.results, [config], alone=True):
        return Outcome(WRONG, differs)
    wanted, found = (_kept_files(results / config) for results in (right, place.results))
    if wanted != found:
        return Outcome(LEFT, f'files: {sorted(found ^ wanted)}')
    return _nothing_runs(place)


def _kept_files(folder: Path) -> set[str]:
    """Names of the files of a run, less TensorBoard's, which each start adds to, and a lock nobody holds."""
    names = {str(path.relative_to(folder)) for path in folder.rglob('*') if not path.is_dir()}
    return {name for name in names if 'tfevents' not in name and not name.endswith('.lock')}


def _nothing_runs(place: Place) -> Outcome:
    if all_gone(place.folder, GRACE_SECONDS):
        return Outcome(EQUAL)
    left = processes_in(place.folder)
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    return Outcome(LEFT, f'processes: {left}')


# --- commands that start processes ---


def _killed_command(
    place: Place, draw: Generator, words: tuple[str, ...], longest: float
) -> tuple[str, Outcome]:
    """Kills a command, alone or with its group, and waits for its processes; then once more to the end."""
    how = pick(draw, [signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
    group, seconds = bool(draw.integers(2)), float(draw.uniform(0, longest))
    told = f'{words[0]}: {how.name} after {seconds:.1f} s, {"its group" if group else "it alone"}'
    call = partial(_on_two_cores, words)
    if _stopped_after(call, seconds, how, group=group) is None:
        return told, Outcome(HANG, 'it did not end')
    if (gone := _nothing_runs(place)).kind != EQUAL:
        return told, gone
    code = ended(forked(call), COMMAND_SECONDS)
    if code != 0:
        return told, Outcome(HANG if code is None else TRACE, f'the same command ended with {code}')
    return told, _nothing_runs(place)


def _on_two_cores(words: tuple[str, ...]) -> int | None:
    """A command whose runs have one thread each, as those that they are compared with."""
    os.cpu_count = lambda: 2  # type: ignore[assignment]
    return main(list(words))


def benchmark(place: Place, draw: Generator) -> tuple[str, Outcome]:
    """The table has the numbers of the runs by themselves."""
    place.lay('nothing run')
    told, outcome = _killed_command(place, draw, (*BENCHMARK, '--jobs', str(draw.integers(1, 3))), 8.0)
    if outcome.kind != EQUAL:
        return told, outcome
    table = pd.read_csv(place.folder / 'compared' / 'results.csv')
    for config in STAGES:
        summary = json.loads(
            (place.world / 'runs' / 'mine' / 'done' / config / '0' / 'summary.json').read_text()
        )
        row = table[table['epochs'].notna() & (table['params'] == summary['params'])]
        wanted = {split: summary[split][summary['metric']] for split in ('val', 'test')}
        found = {split: row[split].tolist() for split in wanted}
        if found != {split: [value] for split, value in wanted.items()}:
            return told, Outcome(WRONG, f'{config}: {found} for {wanted}')
    return told, outcome


def tune(place: Place, draw: Generator) -> tuple[str, Outcome]:
    """Each trial has the number of a run with its settings."""
    import optuna

    place.lay('nothing run')
    Path('space.yaml').write_text(yaml.safe_dump(SPACE))
    told, outcome = _killed_command(place, draw, (*TUNE, '--jobs', str(draw.integers(1, 3))), 8.0)
    if outcome.kind != EQUAL:
        return told, outcome
    trials = optuna.load_study(study_name='search', storage='sqlite:///search.db').trials
    complete = [trial for trial in trials if trial.state == optuna.trial.TrialState.COMPLETE]
    if len(complete) < TRIALS:
        return told, Outcome(WRONG, f'{len(complete)} trials for {TRIALS}: {[t.state.name for t in trials]}')
    known: dict[str, float] = {}
    for trial in complete:
        keys = [str(word) for pair in trial.params.items() for word in pair]
        out_dir = f'alone/{len(known)}'
        if (name := ' '.join(keys)) not in known:
            assert ended(forked(partial(train, 'estimator', *keys, 'out_dir', out_dir))) == 0
            summary = json.loads(Path(out_dir, 'estimator', '0', 'summary.json').read_text())
            known[name] = summary['val'][summary['metric']]
        if trial.value != known[name]:
            return told, Outcome(WRONG, f'{name}: {trial.value} for {known[name]}')
    return told, outcome


KILLS: Mapping[str, Kill] = {
    'stage 1': partial(_killed_stage, config='estimator'),
    'stage 2': partial(_killed_stage, config='spexphormer'),
    'benchmark': benchmark,
    'tune': tune,
}
