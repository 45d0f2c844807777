"""Checks of a whole config, all at once, before anything is built: each key alone, then keys together."""

from __future__ import annotations

import difflib
from collections.abc import Iterator

from torch_geometric.graphgym import register
from yacs.config import CfgNode

from graphgps_ext.capabilities import capabilities
from graphgps_ext.config import KEYS
from graphgps_ext.config.graphgym import (
    LIMITS,
    LIMITS_OF_PLAIN_NETWORKS,
    OF_OTHER_TASKS,
    REGISTRIES,
    REGISTRIES_OF_STOCK_NETWORK,
)
from graphgps_ext.config.key import Limits, shown
from graphgps_ext.config.tree import flatten, get
from graphgps_ext.errors import ConfigError
from graphgps_ext.layer.local import OF_SAMPLED_EDGES
from graphgps_ext.layer.norm import NORMS


def check_config(cfg: CfgNode) -> None:
    """Checks the values that this package reads.

    Raises:
        ConfigError: naming every key whose value cannot be used, what it needs and what it got.
    """
    problems = [*_limits(cfg), *_registered(cfg), *_split(cfg), *_model(cfg), *_plain_network(cfg)]
    if cfg.train.mode == 'spexphormer_estimator':
        problems += _stage_1(cfg)
    if cfg.train.mode == 'spexphormer':
        problems += _stage_2(cfg)
    problems += _loop(cfg)
    if problems:
        raise ConfigError('this config cannot be run:\n' + '\n'.join(f'  - {p}' for p in problems))


def check_encoders(cfg: CfgNode) -> None:
    """Checks, before a run reads its data, for what the sparse networks cannot do without.

    A config that is only planned with, or gets its encoders from overrides later, may leave it open.

    Raises:
        ConfigError: naming the keys.
    """
    if not capabilities(cfg.model.type).gt_width:
        return
    problems = []
    if not cfg.dataset.edge_encoder:
        problems.append('dataset.edge_encoder True (dataset.edge_encoder_name spex_expander_edge)')
    if not (cfg.dataset.node_encoder or cfg.gnn.layers_pre_mp):
        problems.append('dataset.node_encoder True (dataset.node_encoder_name spex_linear_node)')
    if problems:
        raise ConfigError(f'model.type {cfg.model.type} needs {" and ".join(problems)}, got False')


def _limits(cfg: CfgNode) -> Iterator[str]:
    plain = LIMITS_OF_PLAIN_NETWORKS if capabilities(cfg.model.type).plain else {}
    for key, value in flatten(cfg):
        limits = plain.get(key) or limits_of(key)
        if problem := limits.problem(key, value):
            yield problem


def limits_of(key: str) -> Limits:
    """Those of a key of this package, of GraphGym or of another plugin."""
    return KEYS.get(key) or LIMITS.get(key) or Limits()


def _registered(cfg: CfgNode) -> Iterator[str]:
    stock = REGISTRIES_OF_STOCK_NETWORK if cfg.model.type == 'gnn' else {}
    for key, registry in {**REGISTRIES, **stock}.items():
        group, name = key.split('.')
        unread = name.endswith('_encoder_name') and not cfg[group][name.removesuffix('_name')]
        value = get(cfg, key)
        others = OF_OTHER_TASKS.get(key, ())
        names = [name for name in getattr(register, registry) if name is not None and name not in others]
        if unread or value in names or (key == 'gnn.head' and value == 'default'):
            continue
        if value in others:
            yield f'{key} needs one of {", ".join(names)}, got {value}, which is for other tasks or data'
        else:
            near = difflib.get_close_matches(str(value)[:100], names, n=1, cutoff=0.0)
            yield f'{key} {shown(value)} is not registered; the nearest is {near[0]}'
    losses = ('cross_entropy', *register.loss_dict)
    if cfg.model.loss_fun not in losses:
        yield f'model.loss_fun needs one of {", ".join(losses)}, got {shown(cfg.model.loss_fun)}'


def _split(cfg: CfgNode) -> Iterator[str]:
    ratios, mode = cfg.dataset.split, cfg.dataset.split_mode
    if limits_of('dataset.split').problem('dataset.split', ratios):  # it is named already
        return
    if mode == 'random' and (len(ratios) != 3 or min(ratios) <= 0 or abs(sum(ratios) - 1) > 1e-6):
        yield (
            f'dataset.split needs three positive ratios (train, val, test) that sum to 1, got {list(ratios)}'
        )
    if mode == 'class-balanced' and not (ratios and 0 < ratios[0] < 1):
        yield f'dataset.split needs a training ratio between 0 and 1, got {list(ratios)}'


def _model(cfg: CfgNode) -> Iterator[str]:
    if cfg.gt.dim_hidden % max(1, cfg.gt.n_heads):
        yield (
            f'gt.dim_hidden needs to be a multiple of gt.n_heads, '
            f'got {cfg.gt.dim_hidden} and {cfg.gt.n_heads}'
        )
    if cfg.gt.dim_hidden != cfg.gnn.dim_inner and capabilities(cfg.model.type).gt_width:
        yield (f'gnn.dim_inner needs to equal gt.dim_hidden, got {cfg.gnn.dim_inner} and {cfg.gt.dim_hidden}')
    if cfg.gnn.head == 'spex_seed_node' and cfg.train.mode != 'spexphormer':
        yield f'gnn.head spex_seed_node needs train.mode spexphormer, got {cfg.train.mode}'
    norms = [f'gt.{n}_norm' for n in NORMS if cfg.gt[f'{n}_norm']]
    if len(norms) > 1:
        yield f'at most one normalisation may be True, got {" and ".join(norms)}'
    if cfg.gt.local_gnn_type != 'none':
        yield from _local_branch(cfg)


def _local_branch(cfg: CfgNode) -> Iterator[str]:
    kind, edges = cfg.gt.local_gnn_type, cfg.gt.local_edges
    if cfg.train.mode == 'spexphormer_estimator':
        yield (
            f'an estimator has no local branch, which would do what its attention weights are to show: '
            f'gt.local_gnn_type needs to be none, got {kind}'
        )
    if edges == 'graph' and {'spex_neighbor', 'spex_layerwise'} & {cfg.train.sampler, cfg.val.sampler}:
        yield (
            'gt.local_edges graph needs a full batch (train.sampler and val.sampler full_batch): '
            'mini-batches hold the sampled edges alone; set gt.local_edges sampled, or gt.local_gnn_type none'
        )
    if edges == 'sampled' and kind not in OF_SAMPLED_EDGES:
        yield (
            f'gt.local_edges sampled needs gt.local_gnn_type to be one of {", ".join(OF_SAMPLED_EDGES)}, '
            f'got {kind}'
        )


def _plain_network(cfg: CfgNode) -> Iterator[str]:
    """What goes with PyG's models, which see node features and graph edges, and what does not."""
    can = capabilities(cfg.model.type)
    if 'random_node' in (cfg.train.sampler, cfg.val.sampler):
        if not can.parts:
            yield (
                f'train.sampler and val.sampler random_node need a model.type that can see a part of the '
                f'graph (pyg_..., but not pyg_linkx), got {cfg.model.type}'
            )
        if cfg.train.sampler == 'full_batch':
            yield 'val.sampler random_node needs train.sampler random_node, got full_batch'
    if can.stage_types is not None and cfg.gnn.stage_type not in can.stage_types:
        yield (
            f'model.type {cfg.model.type} needs gnn.stage_type {" or ".join(can.stage_types)}, '
            f'got {cfg.gnn.stage_type}'
        )
    if can.plain and (cfg.prep.num_virt_node or cfg.prep.edge_attr):
        yield (
            f'model.type {cfg.model.type} sees node features and graph edges alone: it needs '
            f'prep.num_virt_node 0 and prep.edge_attr False, got {cfg.prep.num_virt_node} and '
            f'{cfg.prep.edge_attr}'
        )


def _stage_1(cfg: CfgNode) -> Iterator[str]:
    if cfg.model.type != 'spex_estimator':
        yield (f'train.mode spexphormer_estimator needs model.type spex_estimator, got {cfg.model.type}')
    if cfg.gt.n_heads != 1:
        yield f'an estimator has one head: gt.n_heads needs to be 1, got {cfg.gt.n_heads}'
    period = max(1, cfg.train.eval_period)
    evaluated = cfg.optim.max_epoch // period * period  # number of epochs up to the last evaluation
    if cfg.spex.select_after_hold and cfg.spex.temperature_hold >= evaluated:
        yield (
            f'spex.select_after_hold leaves no epoch to choose: the last evaluation is after epoch '
            f'{evaluated} (optim.max_epoch, train.eval_period), which needs to be above '
            f'spex.temperature_hold {cfg.spex.temperature_hold}'
        )


def _stage_2(cfg: CfgNode) -> Iterator[str]:
    if cfg.model.type != 'spexphormer':
        yield f'train.mode spexphormer needs model.type spexphormer, got {cfg.model.type}'
    if cfg.gnn.head != 'spex_seed_node':
        yield f'train.mode spexphormer needs gnn.head spex_seed_node, got {cfg.gnn.head}'
    degrees = cfg.spex.layer_degrees
    if len(degrees) not in (1, cfg.gt.layers):
        yield (
            f'spex.layer_degrees needs {cfg.gt.layers} entries, one per layer (gt.layers), got {len(degrees)}'
        )
    if len(cfg.spex.score_layers) > cfg.gt.layers:
        yield (
            f'spex.score_layers needs at most {cfg.gt.layers} entries, one per layer (gt.layers), '
            f'got {len(cfg.spex.score_layers)}'
        )
    if not cfg.spex.estimator and cfg.spex.strategy != 'uniform':
        yield 'spex.estimator needs the result folder of stage 1, got nothing'
    if cfg.spex.resample == 'batch' and cfg.spex.resample_every != 1:
        yield (
            f'spex.resample_every counts epochs: it needs to be 1 with spex.resample batch, '
            f'got {cfg.spex.resample_every}'
        )


def _loop(cfg: CfgNode) -> Iterator[str]:
    samplers = {cfg.train.sampler, cfg.val.sampler}
    shared = cfg.train.sampler == 'spex_neighbor' and cfg.val.sampler in ('spex_neighbor', 'spex_layerwise')
    if cfg.train.mode != 'spexphormer':
        for sampler in sorted({'spex_neighbor', 'spex_layerwise'} & samplers):
            key = 'train.sampler and val.sampler' if sampler == 'spex_neighbor' else 'val.sampler'
            yield f'{key} {sampler} need{"" if "and" in key else "s"} train.mode spexphormer'
    elif cfg.val.sampler == 'spex_layerwise' and cfg.gt.graph_norm:
        yield (
            "val.sampler spex_layerwise computes blocks of rows, whose mean is not the graph's: it needs "
            'gt.graph_norm False (or val.sampler full_batch)'
        )
    if cfg.train.eval_period > cfg.optim.max_epoch:
        yield (
            f'train.eval_period needs to be at most optim.max_epoch, or no epoch is evaluated: got '
            f'{cfg.train.eval_period} and {cfg.optim.max_epoch}'
        )
    if cfg.train.run_id == 'agg':
        yield 'train.run_id needs to be another name than agg, the folder of the aggregate'
    if isinstance(cfg.devices, int) and cfg.devices > 1 and not shared:
        yield (
            f'devices needs to be 1 for a full batch or random parts, got {cfg.devices}: several devices '
            f'share mini-batches (train.sampler spex_neighbor, val.sampler spex_neighbor or spex_layerwise)'
        )
    if not cfg.train.enable_ckpt:
        yield 'train.enable_ckpt needs to be True: the best epoch is reloaded from its checkpoint'
