"""Config files as a set of configs to compare: found, expanded by a grid, joined with their estimators."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from yacs.config import CfgNode

from graphgps_ext.benchmark.grid import Setting, label
from graphgps_ext.config.load import load_config
from graphgps_ext.config.paths import user_path
from graphgps_ext.config.shipped import like, shipped
from graphgps_ext.config.tree import words
from graphgps_ext.errors import ConfigError

ESTIMATOR = 'estimator'
SPACES = 'search'  # folder of search spaces, which are no configs
SUFFIXES = ('.yaml', '.yml')
# What both stages need to have in common: a grid over these makes an estimator for each value.
SHARED_KEYS = ('dataset.', 'prep.', 'gt.layers')


@dataclass(frozen=True)
class Name:
    """A config in tables, figures and TensorBoard; also its folder, `<data set>/<model>`."""

    dataset: str
    model: str

    def __str__(self) -> str:
        return f'{self.dataset}/{self.model}'


@dataclass(frozen=True)
class Config:
    """One config to run with several seeds and splits.

    Args:
        name: its data set and model; of a grid, with the values.
        source: the file of the user.
        overrides: key, value, key, value, ... on top of the file.
        cfg: the resolved config.
        estimator: the config of its stage 1, if it needs one that is to be trained.
    """

    name: Name
    source: Path
    overrides: tuple[str, ...]
    cfg: CfgNode = field(compare=False, repr=False)
    estimator: Config | None = None


def name_of(path: Path, dataset_name: str) -> Name:
    """The name of a file `configs/<Model>/<dataset>-<Model>.yaml`, and what comes nearest for any other.

    `actor-GCN.yaml` in any folder is model GCN on actor. The two stages stand in one folder, whose name is
    that of the model: `Spexphormer/actor-spexphormer.yaml` is Spexphormer, and
    `Spexphormer/actor-estimator.yaml` is Spexphormer-estimator.

    Args:
        path: the config file.
        dataset_name: `dataset.name` of the config, for files without a data set in their name.
    """
    dataset, dash, tail = path.stem.rpartition('-')
    folder = path.resolve().parent.name
    whole_tail = f'-{folder}'
    if path.stem.lower().endswith(whole_tail.lower()):  # a model's name may have dashes of its own
        return Name(path.stem[: -len(whole_tail)], folder)
    if not dash:
        return Name(dataset_name.lower(), path.stem)
    if tail == ESTIMATOR:
        return Name(dataset, f'{folder}-{ESTIMATOR}')
    if folder.lower().startswith(tail.lower()):  # SpexphormerPlus/actor-spexphormer.yaml
        return Name(dataset, folder)
    return Name(dataset, tail)


def name_of_result(config_name: str, dataset_name: str) -> Name:
    """The name of results that no benchmark made: `<out_dir>/<config name>/<run id>` of run/main.py.

    Args:
        config_name: name of the config file without its suffix.
        dataset_name: `dataset.name` of the config.
    """
    tail = config_name.rpartition('-')[2]
    folder = 'Spexphormer' if tail in (ESTIMATOR, 'spexphormer') else tail
    return name_of(Path(folder) / f'{config_name}.yaml', dataset_name)


def find_files(arguments: Sequence[str]) -> list[Path]:
    """The config files that files, folders and patterns name, here or among the shipped ones, each once.

    Raises:
        ConfigError: naming every argument that names none.
    """
    found: dict[Path, Path] = {}
    missing = []
    for argument in arguments:
        own = user_path(argument)
        path = next((p for p in (own, shipped(argument)) if os.path.exists(p)), own)
        if os.path.isdir(path):
            files = sorted(f for f in path.rglob('*') if f.suffix in SUFFIXES and f.parent.name != SPACES)
        elif os.path.isfile(path):
            files = [path]
        else:
            files = sorted(map(Path, glob.glob(str(own)) or glob.glob(str(shipped(argument)))))
        files = [file for file in files if os.path.exists(file)]  # no broken links
        if not files:
            missing.append(
                f'  {argument}{": a folder without *.yaml" if os.path.isdir(path) else like(argument)}'
            )
        for file in files:
            found.setdefault(file.resolve(), file)
    if missing:
        raise ConfigError('there are no config files by these names:\n' + '\n'.join(missing))
    if not found:
        raise ConfigError('a benchmark needs config files or folders of them, got none')
    return list(found.values())


def resolve(path: Path, overrides: Sequence[str]) -> CfgNode:
    """A config with all defaults, checked."""
    cfg = CfgNode()
    load_config(cfg, path, overrides)
    return cfg


def read_configs(
    files: Sequence[Path], overrides: Sequence[str] = (), grid: Sequence[tuple[Setting, ...]] = ()
) -> list[Config]:
    """All configs of the set, estimators before those that need them.

    An estimator that a config names is found and added where it is not among `files`. It is expanded by what
    the stages share only; every other config by the whole grid.

    Args:
        files: the config files.
        overrides: key, value, ... for all of them.
        grid: combinations of settings; none: the files as they are.

    Raises:
        ConfigError: listing what cannot be loaded, found, or kept apart.
    """
    needed = _estimator_files(files, overrides)
    their_files = {path.resolve() for path in needed.values()}
    estimators: dict[tuple[Name, Path], Config] = {}
    configs: list[Config] = []
    problems: list[str] = []
    for file in files:
        if file.resolve() in their_files:
            continue
        for settings in grid or [()]:
            try:
                estimator = None
                if file in needed:
                    shared = tuple(s for s in settings if s.key.startswith(SHARED_KEYS))
                    estimator = _config(needed[file], overrides, shared)
                    estimator = estimators.setdefault((estimator.name, estimator.source.resolve()), estimator)
                configs.append(_config(file, overrides, settings, estimator))
            except ConfigError as error:
                problems.append(str(error))
    if problems:
        raise ConfigError('\n'.join(dict.fromkeys(problems)))
    _check_apart([*estimators.values(), *configs])
    return [*estimators.values(), *configs]


def _config(
    source: Path, overrides: Sequence[str], settings: tuple[Setting, ...], estimator: Config | None = None
) -> Config:
    all_overrides = [*overrides, *words({setting.key: setting.value for setting in settings})]
    name = name_of(source, resolve(source, overrides).dataset.name)
    if settings:
        name = Name(name.dataset, f'{name.model}-{label(settings)}')
    if estimator is not None:
        if estimator.name.dataset != name.dataset:
            raise ConfigError(
                f'{source} and its estimator {estimator.source} need names that begin with the same data set'
            )
        all_overrides += ['spex.estimator', estimator.name.model]
    return Config(name, source, tuple(all_overrides), resolve(source, all_overrides), estimator)


def _estimator_files(files: Sequence[Path], overrides: Sequence[str]) -> dict[Path, Path]:
    """For each file of stage 2 that names an estimator to be trained, the file of that."""
    found: dict[Path, Path] = {}
    problems = []
    for file in files:
        try:
            cfg = resolve(file, overrides)
            if cfg.train.mode == 'spexphormer' and cfg.spex.strategy != 'uniform':
                path = _estimator_file(file, cfg.spex.estimator, files)
                found |= {} if path is None else {file: path}
        except ConfigError as error:
            problems.append(str(error))
    if problems:
        raise ConfigError('\n'.join(problems))
    return found


def _estimator_file(file: Path, named: str, files: Sequence[Path]) -> Path | None:
    """The config file of the estimator; None if `named` is a folder of results, which is taken as it is."""
    if len(Path(named).parts) > 1:
        if not any(Path(named).glob('*/scores')):
            raise ConfigError(f'{file}: spex.estimator {named} needs to be a stage-1 result, has no scores')
        return None
    beside = sorted(file.parent.parent.glob(f'*/{named}.yaml'))
    candidates = [f for f in files if f.stem == named] + beside
    own = file.resolve().parent.name
    # Its own folder first, then the one whose name its own begins with: SpexphormerUniform has Spexphormer's.
    fitting = [path for path in candidates if own.startswith(path.resolve().parent.name)]
    if fitting:
        return max(fitting, key=lambda path: len(path.resolve().parent.name))
    distinct = {path.resolve(): path for path in candidates}
    if len(distinct) == 1:
        return next(iter(distinct.values()))
    what = 'none' if not distinct else 'several: ' + ', '.join(map(str, distinct.values()))
    raise ConfigError(
        f'{file} names spex.estimator {named}: its config {named}.yaml was looked for among the configs, '
        f'beside the file and in the folders beside that, found {what}'
    )


def _check_apart(configs: Iterable[Config]) -> None:
    seen: dict[str, Config] = {}
    for config in configs:
        key = str(config.name).lower()  # some disks do not tell case apart
        other = seen.setdefault(key, config)
        if other is not config:
            raise ConfigError(
                f'two configs would write to one place, {config.name}:\n  {other.source}\n  {config.source}\n'
                f'Rename one of the files (<data set>-<model>.yaml), or run them with different --out.'
            )
