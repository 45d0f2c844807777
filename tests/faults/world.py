"""Small runs of every state, made once, and copies of them for faults to damage.

A world is a folder with input files and, for each of some origins, the runs of both stages: finished, and
killed half-way. A place is a copy of a part of it. Everything in it is named relative to the place, which is
the current folder of the commands that are run there.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from faults.inputs import OF_STAGE, STAGES, write_inputs
from faults.processes import LIMIT_SECONDS, ended, forked, side_by_side
from graphgps_ext.commands import main
from graphgps_ext.provenance import git_revision

RUN = '0'  # the folder of the run of each config
# Where runs come from: their data and what else differs.
ORIGINS: dict[str, dict[str, Any]] = {
    'mine': {},
    'other seed': {'seed': 1, 'train.run_id': RUN},
    'other data': {},
}
# What a scene holds of the runs of one origin: the state of each config's run.
SCENES: dict[str, dict[str, str]] = {
    'nothing run': {},
    'stage 1 done': {'estimator': 'done'},
    'both done': {'estimator': 'done', 'spexphormer': 'done'},
    'stage 1 killed': {'estimator': 'killed'},
    'stage 2 killed': {'estimator': 'done', 'spexphormer': 'killed'},
    'polynormer killed': {'polynormer': 'killed'},
    'planetoid done': {'planetoid': 'done'},
}


def commands_of(scene: str) -> tuple[str, ...]:
    """The configs of a scene, in the order of their commands."""
    names = tuple(SCENES[scene])
    return names if names and names[0] not in STAGES else STAGES


@dataclass(frozen=True)
class Place:
    """Where one fault happens.

    Args:
        world: the world that it is copied from, never changed.
        folder: current folder of the commands.
    """

    world: Path
    folder: Path

    def lay(self, scene: str) -> None:
        """Copies the input files and the runs of a scene."""
        shutil.copytree(self.world / 'inputs' / 'mine', self.folder, dirs_exist_ok=True)
        for config, state in SCENES[scene].items():
            shutil.copytree(
                self.world / 'runs' / 'mine' / state / config, self.results / config, symlinks=True
            )

    @property
    def results(self) -> Path:
        """The folder of the results."""
        return self.folder / 'results'

    def run_dir(self, config: str) -> Path:
        """The folder of a config's run."""
        return self.results / config / RUN

    def strange(self, origin: str, config: str, state: str = 'done') -> Path:
        """The folder of the run of another origin: not to be changed."""
        return self.world / 'runs' / origin / state / config / RUN


def build(world: Path, *, jobs: int = 2) -> None:
    """Makes a world, unless it is there and was made by this revision of the code.

    Raises:
        RuntimeError: if a run does not end as it should.
    """
    made, revision = world / 'made', git_revision() or 'unknown'
    if made.is_file() and made.read_text() == revision:
        return
    shutil.rmtree(world, ignore_errors=True)
    calls = []
    for origin, changes in ORIGINS.items():
        inputs = world / 'inputs' / origin
        write_inputs(inputs, int(origin == 'other data'), changes)
        for state in ('done', 'killed'):
            place = world / 'at work' / f'{origin}, {state}'
            shutil.copytree(inputs, place)
            configs = tuple(OF_STAGE) if origin == 'mine' else STAGES
            calls.append((f'{origin}/{state}', partial(_make_runs, configs, state), place, 5 * LIMIT_SECONDS))
    for name, code, said, _ in side_by_side(calls, jobs=jobs):
        if code != 0:
            raise RuntimeError(f'the runs {name} have ended with {code}: {said}')
    for name, _, place, _ in calls:
        shutil.copytree(place / 'results', world / 'runs' / name, symlinks=True)
    shutil.rmtree(world / 'at work')
    made.write_text(revision)


def _make_runs(configs: Sequence[str], state: str) -> int:
    """The runs of some configs, in the current folder, in processes of their own."""
    results = Path('results')
    for config in configs:
        if state == 'done':
            assert ended(forked(partial(train, config))) == 0
            continue
        assert ended(forked(partial(_train_killed, config))) == -signal.SIGKILL
        if config == 'estimator':  # stage 2 needs a whole one
            (results / config).rename(results / 'killed')
            assert ended(forked(partial(train, config))) == 0
    if state == 'killed':
        shutil.rmtree(results / 'estimator')
        (results / 'killed').rename(results / 'estimator')
    return 0


def train(config: str, *keys: str) -> int | None:
    """Trains a config of the current folder."""
    return main(['train', '--cfg', f'{config}.yaml', *keys])


def _train_killed(config: str) -> int | None:
    """Trains; killed when the last checkpoint of the second epoch is to be put in its place."""
    left = 2

    def hook(event: str, args: tuple[Any, ...]) -> None:
        nonlocal left
        if event == 'os.rename' and str(args[1]).endswith('last.ckpt'):
            left -= 1
            if not left:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)
    return train(config)
