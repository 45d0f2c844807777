"""The runs of a benchmark: every config with every split and seed, in order, and their shards."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from yacs.config import CfgNode

from graphgps_ext.benchmark.configs import Config
from graphgps_ext.benchmark.splits import own_split, splits_of
from graphgps_ext.config.tree import get, write_config
from graphgps_ext.errors import ConfigError, OtherResultsError
from graphgps_ext.train.results import is_finished, write_json

RECORD = 'benchmark.json'  # in a config's result folder: under which name it stands in the tables


@dataclass(frozen=True)
class Run:
    """One process that trains.

    Args:
        config: what is trained.
        split: number of the split: `dataset.split_index`, or `dataset.split_seed` of a random split.
        seed: the seed.
        choose_split: whether the split was asked for on the command line; otherwise it is the config's own.
        estimator: the run of stage 1 whose scores this one needs.
    """

    config: Config
    split: int
    seed: int
    choose_split: bool
    estimator: Run | None = None

    @property
    def id(self) -> str:
        """Name of the run's folder."""
        return f'split-{self.split}-seed-{self.seed}'

    def __str__(self) -> str:
        return f'{self.config.name}/{self.id}'

    def folder(self, out: Path) -> Path:
        """Folder of its results."""
        return out / self.config.name.dataset / self.config.name.model / self.id

    def overrides(self, out: Path) -> list[str]:
        """What the command line adds to :func:`config_file`."""
        pairs: dict[str, object] = {'out_dir': out / self.config.name.dataset, 'train.run_id': self.id}
        pairs |= {'seed': self.seed, 'run_multiple_splits': []}
        if self.choose_split:
            pairs |= {'dataset.split_index': self.split, 'dataset.split_seed': self.split}
        return [str(part) for pair in pairs.items() for part in pair]

    def cfg(self, out: Path) -> CfgNode:
        """Its resolved config, as the run makes it."""
        cfg = self.config.cfg.clone()
        cfg.seed, cfg.run_multiple_splits = self.seed, []
        if self.choose_split:
            cfg.dataset.split_index = cfg.dataset.split_seed = self.split
        cfg.out_dir, cfg.run_dir = str(self.folder(out).parent), str(self.folder(out))
        return cfg


def plan_runs(configs: Sequence[Config], *, repeat: int = 1, splits: str = '') -> list[Run]:
    """All runs, split by split and seed by seed, so that every model is in the table early.

    An estimator that others need is trained once per split, whatever the number of seeds.

    Args:
        configs: of `read_configs`.
        repeat: number of seeds, counted from the config's own.
        splits: 'all', or numbers with commas; '': the config's own.

    Raises:
        ConfigError: if a config has no such split.
    """
    if repeat < 1:
        raise ConfigError(f'--repeat needs to be at least 1, got {repeat}')
    needed = {config.estimator.name for config in configs if config.estimator is not None}
    own_seed = {c.name: _estimator_seed(c, configs) for c in configs if c.name in needed}
    runs: list[Run] = []
    splits_by_config = {config.name: splits_of(config.cfg, splits) for config in configs}
    most = max(map(len, splits_by_config.values()))
    estimators: dict[tuple[object, int], Run] = {}
    for number in range(most):
        for offset in range(repeat):
            for config in configs:
                chosen = splits_by_config[config.name]
                if number >= len(chosen) or (config.name in needed and offset > 0):
                    continue
                split = chosen[number]
                choose = bool(splits) or bool(config.cfg.run_multiple_splits)
                if config.name in needed:
                    run = Run(config, split, own_seed[config.name], choose)
                    estimators[config.name, split] = run
                else:
                    first = None
                    if config.estimator is not None:
                        first = _estimator_run(config, split, estimators)
                    run = Run(config, split, config.cfg.seed + offset, choose, first)
                runs.append(run)
    return runs


def _estimator_seed(estimator: Config, configs: Sequence[Config]) -> int:
    """The seed that stage 2 asks for, or the estimator's own."""
    users = [c for c in configs if c.estimator is not None and c.estimator.name == estimator.name]
    asked = {c.cfg.spex.estimator_seed for c in users} - {-1}
    if len(asked) > 1:
        raise ConfigError(
            f'{", ".join(str(c.name) for c in users)} share an estimator and need one '
            f'spex.estimator_seed, got {", ".join(map(str, sorted(asked)))}'
        )
    return asked.pop() if asked else estimator.cfg.seed


def _estimator_run(config: Config, split: int, estimators: dict[tuple[object, int], Run]) -> Run:
    assert config.estimator is not None
    if (run := estimators.get((config.estimator.name, split))) is None:
        raise ConfigError(
            f'{config.source} needs its estimator {config.estimator.source} on split {split}, which that '
            f'does not have (its own is {own_split(config.estimator.cfg)}): give both the same, or --splits'
        )
    return run


def shard(runs: Sequence[Run], text: str) -> list[Run]:
    """The runs of shard `i/n`, i from 1 to n.

    Every run is in one shard, with all that share its estimator: shards never wait for each other. The
    division depends on the plan only, not on what is done.

    Raises:
        ConfigError: if `text` is no shard.
    """
    number, slash, count = text.partition('/')
    if not (slash and number.isdecimal() and count.isdecimal() and 1 <= int(number) <= int(count)):
        raise ConfigError(f'--shard needs i/n with i from 1 to n, such as 2/8, got {text!r}')
    groups: dict[str, list[Run]] = {}
    for run in runs:
        groups.setdefault(str(run.estimator or run), []).append(run)
    members: list[list[Run]] = [[] for _ in range(int(count))]
    for group in sorted(groups.values(), key=len, reverse=True):  # the largest first: sorting keeps the order
        min(members, key=len).extend(group)
    mine = {str(run) for run in members[int(number) - 1]}
    return [run for run in runs if str(run) in mine]


def finished_runs(runs: Sequence[Run], out: Path) -> set[str]:
    """Which runs are done, by their complete config.

    Raises:
        OtherResultsError: if results of another config lie where a run would write.
    """
    done, others = set(), []
    for run in runs:
        try:
            if is_finished(run.cfg(out)):
                done.add(str(run))
        except OtherResultsError as error:
            others.append('\n'.join(str(error).splitlines()[:-1]))
    if others:
        more = f'\n... and {len(others) - 3} more' if len(others) > 3 else ''
        listed = '\n'.join(others[:3])
        raise OtherResultsError(
            f'{listed}{more}\nNothing was started. Choose another --out, or add train.overwrite True to '
            f'delete what lies there.'
        )
    return done


def config_file(config: Config, out: Path) -> Path:
    """Where :func:`write_configs` puts the config that a run reads; its stem is the model."""
    return out / 'configs' / config.name.dataset / f'{config.name.model}.yaml'


def write_configs(runs: Sequence[Run], out: Path) -> None:
    """Writes each config with its overrides, and under which name it stands in the tables."""
    for config in {str(run.config.name): run.config for run in runs}.values():
        settings = {key: get(config.cfg, key) for key in config.overrides[::2]}
        said = f'{config.name}: {config.source} with {" ".join(config.overrides) or "no overrides"}'
        write_config(config_file(config, out), config.source, settings, said)
        record = {
            'dataset': config.name.dataset,
            'model': config.name.model,
            'config_file': str(config.source),
        }
        write_json(out / config.name.dataset / config.name.model / RECORD, record)
