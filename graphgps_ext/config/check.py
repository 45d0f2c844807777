"""Checks across config keys, all at once, before anything is built."""

from __future__ import annotations

import difflib
from typing import Any

from torch_geometric.graphgym import register
from yacs.config import CfgNode

from graphgps_ext.layer.local import LOCAL_GNN_TYPES, OF_SAMPLED_EDGES
from graphgps_ext.transform.features import NORMALIZATIONS

MODES = ('spexphormer_estimator', 'spexphormer', 'full_graph')
CHOICES = {
    'train.mode': MODES,
    'train.precision': ('32-true', 'bf16-mixed', '16-mixed', '64-true'),
    'train.sampler': ('full_batch', 'spex_neighbor', 'random_node'),
    'val.sampler': ('full_batch', 'spex_neighbor', 'random_node'),
    'prep.exp_algorithm': ('permutation', 'hamiltonian'),
    'spex.strategy': ('weighted', 'uniform', 'top'),
    'spex.resample': ('epoch', 'batch'),
    'spex.fill': ('mask', 'repeat'),
    'dataset.split_mode': ('standard', 'random', 'class-balanced'),
    'dataset.task': ('node',),
    'dataset.task_type': ('classification', 'classification_multilabel'),
    'dataset.normalize_features': NORMALIZATIONS,
    'gt.local_gnn_type': ('none', *LOCAL_GNN_TYPES),
    'gt.local_edges': ('graph', 'sampled'),
    'gt.jumping_knowledge': ('none', 'cat', 'max', 'lstm'),
    'gt.attention_impl': ('auto', 'torch', 'numba', 'triton'),
    'gt.attn_type': ('multihead', 'performer'),
}
# Keys that name something registered, with the name of its registry.
REGISTERED = {
    'model.type': 'network_dict',
    'gnn.head': 'head_dict',
    'gnn.act': 'act_dict',
    'dataset.node_encoder_name': 'node_encoder_dict',
    'dataset.edge_encoder_name': 'edge_encoder_dict',
    'optim.optimizer': 'optimizer_dict',
    'optim.scheduler': 'scheduler_dict',
}


class ConfigError(ValueError):
    """The config cannot be run; the message lists everything that is wrong with it."""


def get(cfg: CfgNode, key: str) -> Any:
    """The value of a dotted key."""
    node: Any = cfg
    for part in key.split('.'):
        node = node[part]
    return node


def check_config(cfg: CfgNode) -> None:
    """Checks the values that this package reads.

    Raises:
        ConfigError: naming every key whose value cannot be used, what it needs and what it got.
    """
    problems = [
        f'{key} needs one of {", ".join(choices)}, got {get(cfg, key)!r}'
        for key, choices in CHOICES.items()
        if get(cfg, key) not in choices
    ]
    problems += _registered(cfg)
    problems += _ranges(cfg)
    problems += _model(cfg)
    problems += _plain_network(cfg)
    problems += _stage_1(cfg) if cfg.train.mode == 'spexphormer_estimator' else []
    problems += _stage_2(cfg) if cfg.train.mode == 'spexphormer' else []
    if cfg.train.mode != 'spexphormer' and 'spex_neighbor' in (cfg.train.sampler, cfg.val.sampler):
        problems.append('train.sampler and val.sampler spex_neighbor need train.mode spexphormer')
    if cfg.train.eval_period > cfg.optim.max_epoch:
        problems.append(
            f'train.eval_period needs to be at most optim.max_epoch, or no epoch is evaluated: got '
            f'{cfg.train.eval_period} and {cfg.optim.max_epoch}'
        )
    splits = cfg.run_multiple_splits
    if any(type(split) is not int or split < 0 for split in splits) or len({*splits}) < len(splits):
        problems.append(f'run_multiple_splits needs different whole numbers from 0 up, got {list(splits)}')
    several = isinstance(cfg.devices, int) and cfg.devices > 1
    if several and {cfg.train.sampler, cfg.val.sampler} != {'spex_neighbor'}:
        problems.append(
            f'devices needs to be 1 for a full batch or random parts, got {cfg.devices}: several devices '
            f'share mini-batches (train.sampler and val.sampler spex_neighbor)'
        )
    if not cfg.train.enable_ckpt:
        problems.append('train.enable_ckpt needs to be True: the best epoch is reloaded from its checkpoint')
    if problems:
        raise ConfigError('this config cannot be run:\n' + '\n'.join(f'  - {p}' for p in problems))


def _registered(cfg: CfgNode) -> list[str]:
    problems = []
    for key, registry in REGISTERED.items():
        group, name = key.split('.')
        unread = name.endswith('_encoder_name') and not cfg[group][name.removesuffix('_name')]
        value = get(cfg, key)
        names = [name for name in getattr(register, registry) if name is not None]
        if unread or value in names or (key == 'gnn.head' and value == 'default'):
            continue
        near = difflib.get_close_matches(str(value), names, n=1, cutoff=0.0)
        problems.append(f'{key} {value!r} is not registered; the nearest is {near[0]}')
    return problems


def _ranges(cfg: CfgNode) -> list[str]:
    least = {
        'seed': 0,
        'num_workers': 0,
        'num_threads': 1,
        'optim.max_epoch': 1,
        'optim.num_warmup_epochs': 0,
        'optim.batch_accumulation': 1,
        'train.eval_period': 1,
        'train.ckpt_period': 1,
        'train.batch_size': 1,
        'gt.layers': 1,
        'gt.n_heads': 1,
        'gt.dim_hidden': 1,
        'posenc_LapPE.eigen.max_freqs': 1,
        'posenc_RWSE.walk_length': 1,
        'gt.local_epochs': 0,
        'gt.graph_weight': 0,
        'prep.exp_deg': 1,
        'prep.num_virt_node': 0,
        'dataset.grid_side': 2,
        'dataset.split_index': 0,
        'spex.resample_every': 1,
        'spex.eval_draws': 1,
        'spex.temperature_hold': 0,
        'spex.logit_clamp': 0,
    }
    most = {'gt.graph_weight': 1, 'gt.beta': 1}
    return (
        [
            f'{key} needs at least {low}, got {get(cfg, key)}'
            for key, low in least.items()
            if get(cfg, key) < low
        ]
        + [
            f'{key} needs at most {high}, got {get(cfg, key)}'
            for key, high in most.items()
            if get(cfg, key) > high
        ]
        + [
            f'{key} needs to lie in [0, 1), got {get(cfg, key)}'
            for key in ('gt.dropout', 'gt.input_dropout', 'gnn.dropout')
            if not 0 <= get(cfg, key) < 1
        ]
    )


def _model(cfg: CfgNode) -> list[str]:
    problems = []
    if cfg.gt.dim_hidden % max(1, cfg.gt.n_heads):
        problems.append(
            f'gt.dim_hidden needs to be a multiple of gt.n_heads, '
            f'got {cfg.gt.dim_hidden} and {cfg.gt.n_heads}'
        )
    if cfg.gt.dim_hidden != cfg.gnn.dim_inner and cfg.model.type.startswith('spex'):
        problems.append(
            f'gnn.dim_inner needs to equal gt.dim_hidden, got {cfg.gnn.dim_inner} and {cfg.gt.dim_hidden}'
        )
    norms = [f'gt.{n}_norm' for n in ('batch', 'graph', 'layer') if cfg.gt[f'{n}_norm']]
    if len(norms) > 1:
        problems.append(f'at most one normalisation may be True, got {" and ".join(norms)}')
    if cfg.gt.local_gnn_type != 'none':
        problems += _local_branch(cfg)
    return problems


def _local_branch(cfg: CfgNode) -> list[str]:
    kind, edges = cfg.gt.local_gnn_type, cfg.gt.local_edges
    problems = []
    if cfg.train.mode == 'spexphormer_estimator':
        problems.append(
            f'an estimator has no local branch, which would do what its attention weights are to show: '
            f'gt.local_gnn_type needs to be none, got {kind}'
        )
    if edges == 'graph' and 'spex_neighbor' in (cfg.train.sampler, cfg.val.sampler):
        problems.append(
            'gt.local_edges graph needs a full batch (train.sampler and val.sampler full_batch): '
            'mini-batches hold the sampled edges alone; set gt.local_edges sampled, or gt.local_gnn_type none'
        )
    if edges == 'sampled' and kind not in OF_SAMPLED_EDGES:
        problems.append(
            f'gt.local_edges sampled needs gt.local_gnn_type to be one of {", ".join(OF_SAMPLED_EDGES)}, '
            f'got {kind}'
        )
    return problems


def _plain_network(cfg: CfgNode) -> list[str]:
    """What goes with PyG's models, which see node features and graph edges, and what does not."""
    plain = cfg.model.type.startswith('pyg_')
    problems = []
    if 'random_node' in (cfg.train.sampler, cfg.val.sampler):
        if not plain or cfg.model.type == 'pyg_linkx':
            problems.append(
                f'train.sampler and val.sampler random_node need a model.type that can see a part of the '
                f'graph (pyg_..., but not pyg_linkx), got {cfg.model.type}'
            )
        if cfg.train.sampler == 'full_batch':
            problems.append('val.sampler random_node needs train.sampler random_node, got full_batch')
    if not plain:
        return problems
    problems += [
        f'{key} needs at least 1, got {get(cfg, key)}'
        for key in ('gnn.layers_mp', 'gnn.dim_inner', 'gnn.att_heads')
        if get(cfg, key) < 1  # type: ignore[operator]
    ]
    stages = ('stack', 'skipsum') if cfg.model.type == 'pyg_gatv2' else ('stack',)
    if cfg.gnn.stage_type not in stages:
        problems.append(
            f'model.type {cfg.model.type} needs gnn.stage_type {" or ".join(stages)}, '
            f'got {cfg.gnn.stage_type}'
        )
    if cfg.prep.num_virt_node or cfg.prep.edge_attr:
        problems.append(
            f'model.type {cfg.model.type} sees node features and graph edges alone: it needs '
            f'prep.num_virt_node 0 and prep.edge_attr False, got {cfg.prep.num_virt_node} and '
            f'{cfg.prep.edge_attr}'
        )
    return problems


def _stage_1(cfg: CfgNode) -> list[str]:
    problems = []
    if cfg.model.type != 'spex_estimator':
        problems.append(
            f'train.mode spexphormer_estimator needs model.type spex_estimator, got {cfg.model.type}'
        )
    if cfg.gt.n_heads != 1:
        problems.append(f'an estimator has one head: gt.n_heads needs to be 1, got {cfg.gt.n_heads}')
    if not 0 < cfg.spex.temperature_min <= 1:
        problems.append(f'spex.temperature_min needs to lie in (0, 1], got {cfg.spex.temperature_min}')
    if not 0 < cfg.spex.temperature_decay <= 1:
        problems.append(f'spex.temperature_decay needs to lie in (0, 1], got {cfg.spex.temperature_decay}')
    period = max(1, cfg.train.eval_period)
    evaluated = cfg.optim.max_epoch // period * period  # number of epochs up to the last evaluation
    if cfg.spex.select_after_hold and cfg.spex.temperature_hold >= evaluated:
        problems.append(
            f'spex.select_after_hold leaves no epoch to choose: the last evaluation is after epoch '
            f'{evaluated} (optim.max_epoch, train.eval_period), which needs to be above '
            f'spex.temperature_hold {cfg.spex.temperature_hold}'
        )
    return problems


def _stage_2(cfg: CfgNode) -> list[str]:
    problems = []
    if cfg.model.type != 'spexphormer':
        problems.append(f'train.mode spexphormer needs model.type spexphormer, got {cfg.model.type}')
    if cfg.gnn.head != 'spex_seed_node':
        problems.append(f'train.mode spexphormer needs gnn.head spex_seed_node, got {cfg.gnn.head}')
    degrees = cfg.spex.layer_degrees
    if len(degrees) not in (1, cfg.gt.layers):
        problems.append(
            f'spex.layer_degrees needs {cfg.gt.layers} entries, one per layer (gt.layers), got {len(degrees)}'
        )
    if any(type(layer) is not int or layer < 0 for layer in cfg.spex.score_layers):
        problems.append(f'spex.score_layers needs whole numbers from 0 up, got {list(cfg.spex.score_layers)}')
    if len(cfg.spex.score_layers) > cfg.gt.layers:
        problems.append(
            f'spex.score_layers needs at most {cfg.gt.layers} entries, one per layer (gt.layers), '
            f'got {len(cfg.spex.score_layers)}'
        )
    if any(type(k) is not int or k < 1 for k in degrees):
        problems.append(f'spex.layer_degrees needs whole numbers from 1 up, got {list(degrees)}')
    if not cfg.spex.estimator and cfg.spex.strategy != 'uniform':
        problems.append('spex.estimator needs the result folder of stage 1, got nothing')
    if cfg.spex.resample == 'batch' and cfg.spex.resample_every != 1:
        problems.append(
            f'spex.resample_every counts epochs: it needs to be 1 with spex.resample batch, '
            f'got {cfg.spex.resample_every}'
        )
    return problems
