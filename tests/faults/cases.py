"""One case: a fault by its name and seed, made in a place of its own, and what becomes of it."""

from __future__ import annotations

import json
import os
import resource
import shutil
import stat
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from faults import checkpoints, configs, datasets, graphs, kills, numbers, run_folders, stores, world
from faults.fault import FRESH, REFUSED, UNDAMAGED, Fault, Faults
from faults.oracle import (
    ADVICE,
    EQUAL,
    ERROR,
    GOOD,
    WRONG,
    Ended,
    Outcome,
    advice,
    delete,
    difference,
    error,
    not_as_given,
    watched,
)
from faults.processes import CACHE, OUTPUT
from faults.world import Place

KINDS: dict[str, Faults] = {
    'scores': stores.FAULTS,
    'checkpoints': checkpoints.FAULTS,
    'run folders': run_folders.FAULTS,
    'graphs': graphs.FAULTS,
    'data sets': datasets.FAULTS,
    'configs': configs.FAULTS,
    'numbers': numbers.FAULTS,
}
WORK = Path('a/b')  # below the folder of a case: a path that goes up stays inside
TOLD = 'outcome.json'
MEMORY = 12 << 30  # bytes of address space of a case: what is larger is refused, not tried


def names(kind: str) -> list[str]:
    """The cases of a kind, without seeds."""
    return [f'{kind}/{name}' for name in (kills.KILLS if kind == 'kills' else KINDS[kind])]


def carry_out(case: str, made: Path) -> int:
    """Makes a fault in the current folder, runs what comes after it, and writes what became of it to `TOLD`.

    Args:
        case: `<kind>/<name>:<seed>`.
        made: a world.
    """
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    name, _, seed = case.rpartition(':')
    kind, _, name = name.partition('/')
    draw = np.random.default_rng([int(seed), *name.encode()])
    place = Place(made, Path.cwd())
    if kind == 'kills':
        told, outcome = kills.KILLS[name](place, draw)
    else:
        fault = KINDS[kind][name](place, draw)
        told = fault.told
        print(f'{case}: {told}', flush=True)
        outcome = judged(place, fault, follow=int(seed) % 2 == 0)
    Path(TOLD).write_text(json.dumps({'told': told, **asdict(outcome)}))
    return 0


def judged(place: Place, fault: Fault, *, follow: bool) -> Outcome:
    """Runs the commands after a fault; of an error also what it advises, if that is to be followed."""
    if fault.expected == FRESH:
        set_aside(place, fault.commands)
    outcome, left = in_turn(fault, list(fault.commands))
    if outcome.kind == EQUAL:
        return right(place, fault)
    if outcome.kind != ERROR or not follow or fault.expected == REFUSED or not advice(outcome.said):
        return outcome
    told, anew = outcome.said, False
    while left:  # each command may have advice of its own, once
        advised = advice(told)
        delete(advised)
        if advised.stage_1 and (first := insisted('estimator', *fault.keys)).code != 0:
            if error(first, fault.names).kind == ERROR:
                return outcome  # what stands in the way of stage 1 is named, too
            return Outcome(ADVICE, f'{told}\n--- then stage 1 said ---\n{first.said}')
        anew = anew or advised.stage_1
        again = insisted(left[0], *fault.keys)
        if again.code != 0 and advice(again.said).stage_1 and not advised.stage_1:
            told = again.said
            continue
        if again.code != 0 and fault.expected == FRESH and afresh(place, fault).kind == ERROR:
            return outcome  # this input cannot be used, whatever lies there
        if again.code != 0:
            return Outcome(ADVICE, f'{told}\n--- after that was done ---\n{again.said}')
        then, left = in_turn(fault, left[1:])
        if then.kind not in GOOD or (then.kind == ERROR and not advice(then.said)):
            return Outcome(ADVICE, f'{told}\n--- after that was done ---\n{then.said}')
        told = then.said
    then = right(place, fault, both_stages=anew)
    return outcome if then.kind == EQUAL else Outcome(ADVICE, f'{outcome.said}\n--- then ---\n{then.said}')


def ran(config: str, *keys: str) -> Ended:
    """Trains a config of the current folder."""
    return watched(partial(world.train, config, *keys))


def insisted(config: str, *keys: str) -> Ended:
    """The same, and if results are in the way, once more with what deletes them."""
    ended = ran(config, *keys)
    if ended.code != 0 and advice(ended.said).overwrite:
        ended = ran(config, *keys, 'train.overwrite', 'True')
    return ended


def in_turn(fault: Fault, commands: Sequence[str]) -> tuple[Outcome, list[str]]:
    """Runs commands until one fails; the outcome, and that one with those that have not been run."""
    for number, config in enumerate(commands):
        if (ended := ran(config, *fault.keys)).code != 0:
            return error(ended, fault.names), list(commands[number:])
    return Outcome(EQUAL), []


def set_aside(place: Place, commands: Sequence[str]) -> None:
    """Copies the input of the commands, as the fault has left it, to a folder in which nothing was run."""
    aside = place.folder / FRESH
    aside.mkdir()
    for entry in place.folder.iterdir():
        if entry.name not in (FRESH, 'results', CACHE, OUTPUT):
            _copy(entry, aside / entry.name)
    if commands[0] == 'spexphormer':
        _copy(place.results / 'estimator', aside / 'results' / 'estimator')


def _copy(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, target, symlinks=True, copy_function=_copy_file)
    else:
        _copy_file(source, target)


def _copy_file(source: Any, target: Any) -> None:
    if stat.S_ISFIFO(os.lstat(source).st_mode):
        os.mkfifo(target)
    else:
        shutil.copy2(source, target, follow_symlinks=False)


def afresh(place: Place, fault: Fault, *, both_stages: bool = False) -> Outcome:
    """The commands in the folder that was set aside; both stages without the scores that were set aside."""
    os.chdir(place.folder / FRESH)
    try:
        if both_stages:
            shutil.rmtree('results', ignore_errors=True)
            return in_turn(fault, world.STAGES)[0]
        return in_turn(fault, fault.commands)[0]
    finally:
        os.chdir(place.folder)


def right(place: Place, fault: Fault, *, both_stages: bool = False) -> Outcome:
    """Whether what the commands have found is right, in stage 2 alone or in both stages."""
    if fault.expected == REFUSED:
        return Outcome(WRONG, 'was to be refused, and has a result')
    wanted = place.world / 'runs' / 'mine' / 'done'
    if fault.expected == FRESH:
        outcome = afresh(place, fault, both_stages=both_stages)
        if outcome.kind == EQUAL:
            wanted = place.folder / FRESH / 'results'
        elif outcome.kind != ERROR:  # otherwise a finished run may stand, though its input cannot be read
            return Outcome(outcome.kind, f'in an empty folder: {outcome.said}')
    if differs := difference(wanted, place.results, fault.commands, alone=fault.expected == UNDAMAGED):
        return Outcome(WRONG, differs)
    if differs := not_as_given(place.results, fault.commands, fault.keys):
        return Outcome(WRONG, differs)
    return Outcome(EQUAL)
