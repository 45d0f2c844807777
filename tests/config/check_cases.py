"""Configs that can be run, and what the check says of changed ones."""

from __future__ import annotations

from typing import Any

from yacs.config import CfgNode

from graphgps_ext.config.check import check_config
from graphgps_ext.config.tree import put
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


def set_keys(cfg: CfgNode, changes: dict[str, Any]) -> None:
    for key, value in changes.items():
        put(cfg, key, value)


def problems_of(cfg: CfgNode) -> list[str]:
    """What the check says; nothing of a config that can be run."""
    try:
        check_config(cfg)
    except ConfigError as error:
        title, *problems = str(error).split('\n  - ')
        return problems if title == 'this config cannot be run:' else [str(error)]
    return []
