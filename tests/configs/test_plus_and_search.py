"""Configs of SpexphormerPlus, and the search spaces: they load and fit each other."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import optuna
import pytest
from shipped import CONFIGS, SPACES, header, of_groups
from yacs.config import CfgNode

from graphgps_ext.config.load import load_config
from graphgps_ext.search.space import read_space
from graphgps_ext.train.handover import score_layers
from graphgps_ext.train.recipes import layer_degrees
from graphgps_ext.train.results import flat_config

STAGE_2 = sorted(CONFIGS.glob('SpexphormerPlus/*-SpexphormerPlus.yaml'))


def files_named_in(path: Path) -> list[Path]:
    """The config files that the comment at the top of a file names, itself among them."""
    return [CONFIGS.parent / name for name in re.findall(r'configs/\S+\.yaml', ' '.join(header(path)))]


@pytest.mark.parametrize('path', STAGE_2, ids=lambda path: path.stem)
def test_config_fits_its_estimator(graphgym_cfg: CfgNode, path: Path) -> None:
    named = files_named_in(path)
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
def test_whatever_a_search_draws_can_be_run(graphgym_cfg: CfgNode, path: Path) -> None:
    config, *estimator, space_file = files_named_in(path)
    assert space_file == path
    of_estimator: dict[str, Any] = {}
    if estimator:
        load_config(graphgym_cfg, estimator[0])
        of_estimator = {f'estimator.{key}': value for key, value in flat_config(graphgym_cfg).items()}
    load_config(graphgym_cfg, config)
    space = read_space(path, flat_config(graphgym_cfg) | of_estimator)
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
