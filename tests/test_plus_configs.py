"""Configs and search spaces of SpexphormerPlus: they load, fit each other, and say how to run them."""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from types import ModuleType

import optuna
import pytest
import runs
from test_configs import of_groups
from yacs.config import CfgNode

from graphgps_ext.config.load import load_config
from graphgps_ext.train.recipes import layer_degrees, score_layers
from graphgps_ext.train.results import flat_config

FOLDER = runs.REPOSITORY / 'configs' / 'SpexphormerPlus'
STAGE_2 = sorted(FOLDER.glob('*-spexphormer.yaml'))
SPACES = sorted(FOLDER.glob('search/*.yaml'))


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
def test_both_stages_share_data_and_graph(graphgym_cfg: CfgNode, path: Path) -> None:
    first_path = path.with_name(path.name.replace('-spexphormer', '-estimator'))
    assert {path, first_path} <= {*files_named_in(path)} and first_path in files_named_in(first_path)
    load_config(graphgym_cfg, first_path)
    first = flat_config(graphgym_cfg)
    load_config(graphgym_cfg, path)
    second = flat_config(graphgym_cfg)
    assert of_groups(first, 'dataset', 'prep') == of_groups(second, 'dataset', 'prep')
    assert second['spex.estimator'] == first_path.stem
    assert len(layer_degrees()) == len(score_layers()) == second['gt.layers']
    assert max(score_layers()) < first['gt.layers']


@pytest.mark.parametrize('path', SPACES, ids=lambda path: path.stem)
def test_whatever_a_search_draws_can_be_run(
    graphgym_cfg: CfgNode, tune_space: ModuleType, path: Path
) -> None:
    config, estimator, space_file = files_named_in(path)
    assert space_file == path
    load_config(graphgym_cfg, estimator)
    num_layers = graphgym_cfg.gt.layers
    load_config(graphgym_cfg, config)
    space = tune_space.read_space(path, flat_config(graphgym_cfg))
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    for _ in range(10):
        settings = space.suggest(study.ask())
        words = [str(word) for pair in settings.items() for word in pair]
        load_config(graphgym_cfg, config, words)
        assert max(score_layers()) < num_layers
        flat = flat_config(graphgym_cfg)
        assert {key: flat[key] for key in settings} == settings
