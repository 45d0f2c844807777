"""Configs of SpexphormerPlus, and the search spaces: they load, fit each other, and say how to run them."""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import optuna
import pytest
import runs
from test_configs import of_groups
from yacs.config import CfgNode

from graphgps_ext.config.load import load_config
from graphgps_ext.train.recipes import layer_degrees, score_layers
from graphgps_ext.train.results import flat_config

FOLDER = runs.REPOSITORY / 'configs' / 'SpexphormerPlus'
STAGE_2 = sorted(FOLDER.glob('*-SpexphormerPlus.yaml'))
SPACES = sorted((runs.REPOSITORY / 'configs' / 'search').glob('*.yaml'))


@pytest.fixture
def tune_space(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(runs.REPOSITORY / 'run'))
    return importlib.import_module('tune_space')


def files_named_in(path: Path) -> list[Path]:
    """The config files that the comment at the top of a file names, which all have to be there."""
    comment = ''.join(line for line in path.read_text(encoding='utf-8').splitlines(True) if line[0] == '#')
    named = [runs.REPOSITORY / name for name in re.findall(r'configs/\S+\.yaml', comment)]
    assert all(file.is_file() for file in named)
    return named


@pytest.mark.parametrize('path', STAGE_2, ids=lambda path: path.stem)
def test_config_fits_its_estimator(graphgym_cfg: CfgNode, path: Path) -> None:
    named = files_named_in(path)
    assert path in named
    load_config(graphgym_cfg, path)
    second = flat_config(graphgym_cfg)
    assert len(layer_degrees()) == second['gt.layers']
    if second['spex.strategy'] == 'uniform':
        assert second['spex.estimator'] == ''
        return
    assert len(score_layers()) == second['gt.layers']
    wanted = max(score_layers())
    first_path = next(file for file in named if file.stem == second['spex.estimator'])
    load_config(graphgym_cfg, first_path)
    first = flat_config(graphgym_cfg)
    assert of_groups(first, 'dataset', 'prep') == of_groups(second, 'dataset', 'prep')
    assert wanted < first['gt.layers']


@pytest.mark.parametrize('path', SPACES, ids=lambda path: path.stem)
def test_whatever_a_search_draws_can_be_run(
    graphgym_cfg: CfgNode, tune_space: ModuleType, path: Path
) -> None:
    config, *estimator, space_file = files_named_in(path)
    assert space_file == path
    of_estimator: dict[str, Any] = {}
    if estimator:
        load_config(graphgym_cfg, estimator[0])
        of_estimator = {f'estimator.{key}': value for key, value in flat_config(graphgym_cfg).items()}
    load_config(graphgym_cfg, config)
    space = tune_space.read_space(path, flat_config(graphgym_cfg) | of_estimator)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    for _ in range(10):
        settings = space.suggest(study.ask())
        first = {k.removeprefix('estimator.'): v for k, v in settings.items() if k in of_estimator}
        second = {k: v for k, v in settings.items() if k not in of_estimator}
        if estimator:
            assert flat_of(graphgym_cfg, estimator[0], first).items() >= first.items()
            num_layers = graphgym_cfg.gt.layers
        assert flat_of(graphgym_cfg, config, second).items() >= second.items()
        if estimator:
            assert max(score_layers()) < num_layers


def flat_of(cfg: CfgNode, path: Path, settings: dict[str, Any]) -> dict[str, Any]:
    """The keys of a config file with other settings, after loading it into `cfg`."""
    load_config(cfg, path, [str(word) for pair in settings.items() for word in pair])
    return flat_config(cfg)
