"""Checks across keys: each problem is named with its key, what it needs and what it got."""

from __future__ import annotations

import pytest
from check_cases import choose, problems_of, set_keys
from yacs.config import CfgNode

from graphgps_ext.config.check import check_config

RANDOM_PARTS = {'train.sampler': 'random_node', 'val.sampler': 'random_node'}


@pytest.mark.parametrize('model', ['pyg_gcn', 'pyg_polynormer'])
@pytest.mark.parametrize('evaluation', ['random_node', 'full_batch'])
def test_networks_of_pyg_may_see_random_parts(graphgym_cfg: CfgNode, model: str, evaluation: str) -> None:
    cfg = choose(graphgym_cfg, 'full_graph')
    set_keys(cfg, {'model.type': model, **RANDOM_PARTS, 'val.sampler': evaluation})
    check_config(cfg)


@pytest.mark.parametrize(
    ('mode', 'changes', 'problem'),
    [
        (
            'full_graph',
            RANDOM_PARTS,
            'train.sampler and val.sampler random_node need a model.type that can see a part of the graph '
            '(pyg_..., but not pyg_linkx), got spex_exphormer',
        ),
        (
            'full_graph',
            {'model.type': 'pyg_linkx', **RANDOM_PARTS},
            'train.sampler and val.sampler random_node need a model.type that can see a part of the graph '
            '(pyg_..., but not pyg_linkx), got pyg_linkx',
        ),
        (
            'full_graph',
            {'model.type': 'pyg_gcn', 'val.sampler': 'random_node'},
            'val.sampler random_node needs train.sampler random_node, got full_batch',
        ),
        (
            'full_graph',
            {'model.type': 'pyg_gcn', 'prep.num_virt_node': 1, 'prep.edge_attr': True},
            'model.type pyg_gcn sees node features and graph edges alone: it needs prep.num_virt_node 0 and '
            'prep.edge_attr False, got 1 and True',
        ),
        (
            'full_graph',
            {'model.type': 'pyg_gcn', 'gnn.stage_type': 'skipsum'},
            'model.type pyg_gcn needs gnn.stage_type stack, got skipsum',
        ),
        (
            'full_graph',
            {'model.type': 'pyg_gatv2', 'gnn.stage_type': 'skipconcat'},
            'model.type pyg_gatv2 needs gnn.stage_type stack or skipsum, got skipconcat',
        ),
        (
            'full_graph',
            {'model.type': 'pyg_gcn', **RANDOM_PARTS, 'devices': 2},
            'devices needs to be 1 for a full batch or random parts, got 2: several devices share '
            'mini-batches (train.sampler spex_neighbor, val.sampler spex_neighbor or spex_layerwise)',
        ),
        (
            'full_graph',
            {'gt.n_heads': 5},
            'gt.dim_hidden needs to be a multiple of gt.n_heads, got 32 and 5',
        ),
        (
            'full_graph',
            {'gnn.head': 'spex_seed_node'},
            'gnn.head spex_seed_node needs train.mode spexphormer, got full_graph',
        ),
        (
            'full_graph',
            {'model.type': 'gnn', 'gnn.layer_type': 'linnear'},
            "gnn.layer_type 'linnear' is not registered; the nearest is linear",
        ),
        (
            'full_graph',
            {'train.run_id': 'agg'},
            'train.run_id needs to be another name than agg, the folder of the aggregate',
        ),
        (
            'full_graph',
            {'dataset.split_mode': 'random', 'dataset.split': [0.5, 0.5]},
            'dataset.split needs three positive ratios (train, val, test) that sum to 1, got [0.5, 0.5]',
        ),
        (
            'full_graph',
            {'dataset.split_mode': 'class-balanced', 'dataset.split': []},
            'dataset.split needs a training ratio between 0 and 1, got []',
        ),
        (
            'full_graph',
            {'gnn.dim_inner': 16},
            'gnn.dim_inner needs to equal gt.dim_hidden, got 16 and 32',
        ),
        (
            'full_graph',
            {'gt.layer_norm': True},
            'at most one normalisation may be True, got gt.batch_norm and gt.layer_norm',
        ),
        (
            'full_graph',
            {'train.sampler': 'spex_neighbor'},
            'train.sampler and val.sampler spex_neighbor need train.mode spexphormer',
        ),
        (
            'spexphormer_estimator',
            {'val.sampler': 'spex_neighbor'},
            'train.sampler and val.sampler spex_neighbor need train.mode spexphormer',
        ),
        (
            'full_graph',
            {'val.sampler': 'spex_layerwise'},
            'val.sampler spex_layerwise needs train.mode spexphormer',
        ),
        (
            'spexphormer',
            {'val.sampler': 'spex_layerwise', 'gt.batch_norm': False, 'gt.graph_norm': True},
            "val.sampler spex_layerwise computes blocks of rows, whose mean is not the graph's: it needs "
            'gt.graph_norm False (or val.sampler full_batch)',
        ),
        (
            'full_graph',
            {'train.enable_ckpt': False},
            'train.enable_ckpt needs to be True: the best epoch is reloaded from its checkpoint',
        ),
        (
            'spexphormer',
            {'train.eval_period': 51},
            'train.eval_period needs to be at most optim.max_epoch, or no epoch is evaluated: got 51 and 50',
        ),
        (
            'full_graph',
            {'run_multiple_splits': [0, 1, 0]},
            'run_multiple_splits needs different whole numbers from 0 up, got [0, 1, 0]',
        ),
        (
            'full_graph',
            {'run_multiple_splits': [0, 'a']},
            "run_multiple_splits needs different whole numbers from 0 up, got [0, 'a']",
        ),
        (
            'full_graph',
            {'run_multiple_splits': [-1]},
            'run_multiple_splits needs different whole numbers from 0 up, got [-1]',
        ),
        (
            'spexphormer_estimator',
            {'model.type': 'spexphormer'},
            'train.mode spexphormer_estimator needs model.type spex_estimator, got spexphormer',
        ),
        (
            'spexphormer_estimator',
            {'gt.n_heads': 2},
            'an estimator has one head: gt.n_heads needs to be 1, got 2',
        ),
        (
            'spexphormer_estimator',
            {'spex.temperature_min': 0.0},
            'spex.temperature_min needs to lie in (0, 1], got 0.0',
        ),
        (
            'spexphormer_estimator',
            {'spex.temperature_decay': 1.5},
            'spex.temperature_decay needs to lie in (0, 1], got 1.5',
        ),
        (
            'spexphormer_estimator',
            {'spex.select_after_hold': True, 'spex.temperature_hold': 50},
            'spex.select_after_hold leaves no epoch to choose: the last evaluation is after epoch 50 '
            '(optim.max_epoch, train.eval_period), which needs to be above spex.temperature_hold 50',
        ),
        (
            'spexphormer_estimator',
            {'spex.select_after_hold': True, 'spex.temperature_hold': 40, 'train.eval_period': 20},
            'spex.select_after_hold leaves no epoch to choose: the last evaluation is after epoch 40 '
            '(optim.max_epoch, train.eval_period), which needs to be above spex.temperature_hold 40',
        ),
        (
            'spexphormer',
            {'model.type': 'spex_exphormer'},
            'train.mode spexphormer needs model.type spexphormer, got spex_exphormer',
        ),
        (
            'spexphormer',
            {'gnn.head': 'node'},
            'train.mode spexphormer needs gnn.head spex_seed_node, got node',
        ),
        (
            'spexphormer',
            {'spex.layer_degrees': [4, 3, 2]},
            'spex.layer_degrees needs 4 entries, one per layer (gt.layers), got 3',
        ),
        (
            'spexphormer',
            {'spex.score_layers': [0, 1, 2, 3, 3]},
            'spex.score_layers needs at most 4 entries, one per layer (gt.layers), got 5',
        ),
        (
            'spexphormer',
            {'spex.score_layers': [0, -1]},
            'spex.score_layers needs whole numbers from 0 up, got [0, -1]',
        ),
        (
            'spexphormer',
            {'gt.local_gnn_type': 'gcn', 'val.sampler': 'spex_neighbor'},
            'gt.local_edges graph needs a full batch (train.sampler and val.sampler full_batch): '
            'mini-batches hold the sampled edges alone; set gt.local_edges sampled, '
            'or gt.local_gnn_type none',
        ),
        (
            'spexphormer',
            {'gt.local_gnn_type': 'gcn', 'gt.local_edges': 'sampled'},
            'gt.local_edges sampled needs gt.local_gnn_type to be one of sage, gat, gatedgcn, got gcn',
        ),
        (
            'spexphormer_estimator',
            {'gt.local_gnn_type': 'sage'},
            'an estimator has no local branch, which would do what its attention weights are to show: '
            'gt.local_gnn_type needs to be none, got sage',
        ),
        (
            'spexphormer',
            {'spex.layer_degrees': [4, 0, 2, 2]},
            'spex.layer_degrees needs whole numbers from 1 up, got [4, 0, 2, 2]',
        ),
        (
            'spexphormer',
            {'spex.layer_degrees': [4, 2.5, 2, 2]},
            'spex.layer_degrees needs whole numbers from 1 up, got [4, 2.5, 2, 2]',
        ),
        (
            'spexphormer',
            {'spex.layer_degrees': [4, True, 2, 2]},
            'spex.layer_degrees needs whole numbers from 1 up, got [4, True, 2, 2]',
        ),
        (
            'spexphormer',
            {'spex.estimator': ''},
            'spex.estimator needs the result folder of stage 1, got nothing',
        ),
        (
            'spexphormer',
            {'spex.resample': 'batch', 'spex.resample_every': 2},
            'spex.resample_every counts epochs: it needs to be 1 with spex.resample batch, got 2',
        ),
    ],
)
def test_problem_across_keys_is_named(graphgym_cfg: CfgNode, mode: str, changes: dict, problem: str) -> None:
    cfg = choose(graphgym_cfg, mode)
    set_keys(cfg, changes)
    assert problems_of(cfg) == [problem]


@pytest.mark.parametrize(
    ('mode', 'changes'),
    [
        ('spexphormer', {'spex.strategy': 'uniform', 'spex.estimator': ''}),
        ('spexphormer', {'train.sampler': 'spex_neighbor', 'val.sampler': 'spex_neighbor'}),
        ('spexphormer', {'spex.layer_degrees': [4], 'spex.score_layers': [0, 1]}),
        ('spexphormer', {'gt.local_gnn_type': 'gcn'}),
        (
            'spexphormer',
            {'gt.local_gnn_type': 'gat', 'gt.local_edges': 'sampled', 'train.sampler': 'spex_neighbor'},
        ),
        ('spexphormer_estimator', {'spex.temperature_hold': 50}),
        ('spexphormer_estimator', {'spex.select_after_hold': True, 'spex.temperature_hold': 49}),
        ('spexphormer_estimator', {'gt.batch_norm': False, 'gt.graph_norm': True}),
        ('full_graph', {'spex.temperature_min': 0.5, 'spex.layer_degrees': [1]}),
        ('full_graph', {'gnn.dim_inner': 256, 'model.type': 'gnn'}),
    ],
)
def test_what_a_stage_does_not_need_or_allows_passes(graphgym_cfg: CfgNode, mode: str, changes: dict) -> None:
    cfg = choose(graphgym_cfg, mode)
    set_keys(cfg, changes)
    check_config(cfg)


def test_all_problems_are_reported_at_once(graphgym_cfg: CfgNode) -> None:
    cfg = choose(graphgym_cfg, 'spexphormer')
    set_keys(
        cfg,
        {
            'gt.n_heads': 5,
            'optim.max_epoch': 0,
            'spex.layer_degrees': [2, 2],
            'spex.fill': 'zeros',
            'train.enable_ckpt': False,
        },
    )
    problems = problems_of(cfg)
    for start in ('spex.fill', 'optim.max_epoch', 'gt.dim_hidden', 'spex.layer_degrees', 'train.enable_ckpt'):
        assert any(problem.startswith(start) for problem in problems)
