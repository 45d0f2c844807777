"""The runs of a benchmark: every config with every split and seed, in order, and their shards."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from yacs.config import CfgNode

from graphgps_ext.benchmark.configs import Config, Name
from graphgps_ext.config.tree import get, put, words, write_config
from graphgps_ext.errors import ConfigError, OtherResultsError
from graphgps_ext.loader.datasets import load_file
from graphgps_ext.train.results import write_json
from graphgps_ext.train.runs import is_finished

RECORD = 'benchmark.json'  # in a config's result folder: under which name it stands in the tables
FIXED_SPLITS = {
    'PyG-Actor': 10,
    'PyG-HeterophilousGraphDataset': 10,
    'PyG-WikiCS': 20,
    'OGB': 1,
    'Pokec': 5,
}


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

    def settings(self, out: Path) -> dict[str, Any]:
        """The keys by which it differs from other runs of its config."""
        found: dict[str, Any] = {'out_dir': str(out / self.config.name.dataset), 'train.run_id': self.id}
        found |= {'seed': self.seed, 'run_multiple_splits': []}
        if self.choose_split:
            found |= {'dataset.split_index': self.split, 'dataset.split_seed': self.split}
        return found

    def overrides(self, out: Path) -> list[str]:
        """What the command line adds to :func:`config_file`."""
        return words(self.settings(out))

    def cfg(self, out: Path) -> CfgNode:
        """Its resolved config, as the run makes it."""
        cfg = self.config.cfg.clone()
        for key, value in self.settings(out).items():
            put(cfg, key, value)
        cfg.run_dir = str(self.folder(out))
        return cfg


def number_of_splits(cfg: CfgNode) -> int | None:
    """How many fixed splits the data set of a config brings; None if it brings none."""
    name = cfg.dataset.name.lower()
    if cfg.dataset.format == 'PyG-Planetoid':
        return 10 if cfg.dataset.planetoid_split == 'geom-gcn' else 1
    if cfg.dataset.format == 'PyG-LINKXDataset':
        return 5 if name == 'penn94' else None
    if cfg.dataset.format == 'file':
        data = load_file(cfg.dataset.path, multilabel=cfg.dataset.task_type == 'classification_multilabel')
        if 'train_mask' not in data:
            return None
        return 1 if data.train_mask.dim() == 1 else data.train_mask.shape[1]
    return FIXED_SPLITS.get(cfg.dataset.format)


def own_split(cfg: CfgNode) -> int:
    """The split that a config names: an index, or the seed of a random one."""
    return cfg.dataset.split_index if cfg.dataset.split_mode == 'standard' else cfg.dataset.split_seed


def splits_of(cfg: CfgNode, text: str) -> list[int]:
    """The splits of a config that `--splits` asks for.

    Args:
        cfg: the resolved config.
        text: 'all' for every fixed split, or numbers with commas; '': `run_multiple_splits` of the config, or
            its own split.

    Raises:
        ConfigError: if there are no such splits.
    """
    if not text:
        return list(cfg.run_multiple_splits) or [own_split(cfg)]
    name, fixed = cfg.dataset.name, cfg.dataset.split_mode == 'standard'
    count = number_of_splits(cfg) if fixed else None
    if text == 'all':
        if count is None:
            raise ConfigError(
                f'--splits all needs fixed splits, but {name} has {cfg.dataset.split_mode} ones: name '
                f'some seeds, such as --splits 0,1,2,3,4'
            )
        return list(range(count))
    parts = text.split(',')
    if not all(part.strip().isdecimal() for part in parts):
        raise ConfigError(f'--splits needs all, or numbers with commas such as 0,1,2, got {text!r}')
    numbers = [int(part) for part in parts]
    if len({*numbers}) < len(numbers):
        raise ConfigError(f'--splits needs different numbers, got {text!r}')
    if count is not None and max(numbers) >= count:
        raise ConfigError(f'--splits needs numbers below {count} for {name}, got {text!r}')
    return numbers


def plan_runs(configs: Sequence[Config], *, repeat: int = 1, splits: str = '') -> list[Run]:
    """All runs, split by split and seed by seed, so that every model is in the table early.

    An estimator that others need is trained once per split, whatever the number of seeds, and before them.

    Args:
        configs: of `read_configs`, estimators first.
        repeat: number of seeds, counted from the config's own.
        splits: 'all', or numbers with commas; '': the config's own.

    Raises:
        ConfigError: if a config has no such split.
    """
    if repeat < 1:
        raise ConfigError(f'--repeat needs to be at least 1, got {repeat}')
    planned: list[tuple[int, int, Run]] = []
    estimators: dict[tuple[Name, int], Run] = {}
    for config in configs:
        choose_split = bool(splits or config.cfg.run_multiple_splits)
        for number, split in enumerate(splits_of(config.cfg, splits)):
            estimator = None if config.estimator is None else _estimator_run(config, split, estimators)
            for offset, seed in enumerate(_seeds(config, configs, repeat)):
                run = Run(config, split, seed, choose_split, estimator)
                planned.append((number, offset, run))
                estimators[config.name, split] = run
    return [run for *_, run in sorted(planned, key=lambda one: one[:2])]  # configs keep their order


def _seeds(config: Config, configs: Sequence[Config], repeat: int) -> Iterable[int]:
    """Its seeds; of an estimator that others need the one that they ask for, or its own."""
    own = config.cfg.seed
    users = [user for user in configs if user.estimator == config]
    if not users:
        return range(own, own + repeat)
    asked = {user.cfg.spex.estimator_seed for user in users} - {-1}
    if len(asked) > 1:
        raise ConfigError(
            f'{", ".join(str(user.name) for user in users)} share an estimator and need one '
            f'spex.estimator_seed, got {", ".join(map(str, sorted(asked)))}'
        )
    return asked or [own]


def _estimator_run(config: Config, split: int, estimators: dict[tuple[Name, int], Run]) -> Run:
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
        record = {**asdict(config.name), 'config_file': str(config.source)}
        write_json(out / config.name.dataset / config.name.model / RECORD, record)
