"""Configs that can be run, and what the check says of changed ones."""

from __future__ import annotations

import pytest
from yacs.config import CfgNode

from graphgps_ext.config.check import check_config
from graphgps_ext.errors import ConfigError


def choose(cfg: CfgNode, mode: str) -> CfgNode:
    """A config of each stage that can be run."""
    cfg.train.mode = mode
    cfg.dataset.task, cfg.gnn.head = 'node', 'node'
    cfg.gnn.dim_inner = cfg.gt.dim_hidden = 32
    cfg.optim.max_epoch = 50
    cfg.train.eval_period = 1
    if mode == 'spexphormer_estimator':
        cfg.model.type, cfg.gt.n_heads = 'spex_estimator', 1
    elif mode == 'spexphormer':
        cfg.model.type, cfg.gnn.head = 'spexphormer', 'spex_seed_node'
        cfg.spex.layer_degrees, cfg.spex.estimator = [4, 3, 2, 1], 'stage-1'
    else:
        cfg.model.type = 'spex_exphormer'
    return cfg


def set_keys(cfg: CfgNode, changes: dict) -> None:
    for key, value in changes.items():
        *groups, name = key.split('.')
        node = cfg
        for group in groups:
            node = node[group]
        node[name] = value


def problems_of(cfg: CfgNode) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        check_config(cfg)
    title, *problems = str(caught.value).split('\n  - ')
    assert title == 'this config cannot be run:'
    return problems
