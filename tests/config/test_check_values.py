"""Checks of one key at a time: each problem says what the key needs and what it got."""

from __future__ import annotations

import pytest
from check_cases import choose, problems_of, set_keys
from yacs.config import CfgNode

from graphgps_ext.config import KEYS
from graphgps_ext.config.check import check_config
from graphgps_ext.config.graphgym import LIMITS, REGISTRIES

CHOICES = [
    'train.mode', 'train.precision', 'train.sampler', 'val.sampler', 'prep.exp_algorithm', 'spex.strategy',
    'spex.resample', 'spex.fill', 'dataset.split_mode', 'dataset.task', 'dataset.task_type',
    'dataset.normalize_features', 'gt.local_gnn_type', 'gt.local_edges', 'gt.jumping_knowledge',
    'gt.attention_impl', 'gt.attn_type', 'accelerator', 'print', 'metric_best', 'model.size_average',
    'dataset.planetoid_split',
]  # fmt: skip


@pytest.mark.parametrize('mode', ['full_graph', 'spexphormer_estimator', 'spexphormer'])
def test_configs_of_all_modes_pass(graphgym_cfg: CfgNode, mode: str) -> None:
    check_config(choose(graphgym_cfg, mode))


@pytest.mark.parametrize('key', CHOICES)
def test_value_that_is_no_choice_is_refused(graphgym_cfg: CfgNode, key: str) -> None:
    cfg = choose(graphgym_cfg, 'full_graph')
    set_keys(cfg, {key: 'nonsense'})
    limits = (LIMITS | KEYS)[key]
    hint = f' ({limits.hint})' if limits.hint else ''
    assert problems_of(cfg)[0] == f"{key} needs one of {', '.join(limits.choices)}, got 'nonsense'{hint}"


def test_keys_of_choices_are_all_tried_above() -> None:
    assert {key for key, limits in (LIMITS | KEYS).items() if limits.choices} == {*CHOICES}


@pytest.mark.parametrize('value', ['32-true', 'bf16-mixed', '16-mixed', '64-true'])
def test_precisions_are_those_of_lightning(graphgym_cfg: CfgNode, value: str) -> None:
    cfg = choose(graphgym_cfg, 'full_graph')
    set_keys(cfg, {'train.precision': value})
    check_config(cfg)


@pytest.mark.parametrize(
    ('key', 'value', 'nearest'),
    [
        ('model.type', 'spexformer', 'spexphormer'),
        ('gnn.head', 'nodes', 'node'),
        ('gnn.act', 'rlu', 'relu'),
        ('dataset.node_encoder_name', 'linear_node', 'spex_linear_node'),
        ('dataset.edge_encoder_name', 'expander_edge', 'spex_expander_edge'),
        ('optim.optimizer', 'adamWW', 'adamW'),
        ('optim.scheduler', 'cosine_warmup', 'cosine_with_warmup'),
    ],
)
def test_name_that_is_not_registered_is_refused_with_the_nearest(
    graphgym_cfg: CfgNode, key: str, value: str, nearest: str
) -> None:
    cfg = choose(graphgym_cfg, 'full_graph')
    cfg.dataset.node_encoder = cfg.dataset.edge_encoder = True
    cfg.dataset.node_encoder_name, cfg.dataset.edge_encoder_name = 'spex_linear_node', 'spex_expander_edge'
    set_keys(cfg, {key: value})
    assert problems_of(cfg) == [f"{key} '{value}' is not registered; the nearest is {nearest}"]


def test_registered_names_are_all_tried_above() -> None:
    marks = test_name_that_is_not_registered_is_refused_with_the_nearest.pytestmark
    assert {case[0] for mark in marks for case in mark.args[1]} == set(REGISTRIES)


def test_name_that_is_not_read_may_be_anything(graphgym_cfg: CfgNode) -> None:
    cfg = choose(graphgym_cfg, 'full_graph')
    cfg.dataset.node_encoder = cfg.dataset.edge_encoder = False
    cfg.dataset.node_encoder_name = cfg.dataset.edge_encoder_name = 'nonsense'
    cfg.gnn.head = 'default'
    check_config(cfg)


@pytest.mark.parametrize(
    ('key', 'low'),
    [
        ('seed', 0),
        ('num_workers', 0),
        ('num_threads', 1),
        ('optim.max_epoch', 1),
        ('optim.num_warmup_epochs', 0),
        ('optim.batch_accumulation', 1),
        ('train.eval_period', 1),
        ('train.ckpt_period', 1),
        ('train.batch_size', 1),
        ('gt.layers', 1),
        ('gt.n_heads', 1),
        ('gt.dim_hidden', 1),
        ('posenc_LapPE.eigen.max_freqs', 1),
        ('posenc_RWSE.walk_length', 1),
        ('gt.local_epochs', 0),
        ('prep.exp_deg', 1),
        ('prep.num_virt_node', 0),
        ('dataset.grid_side', 2),
        ('dataset.split_index', 0),
        ('spex.resample_every', 1),
        ('spex.eval_draws', 1),
        ('spex.temperature_hold', 0),
        ('spex.logit_clamp', 0.0),
    ],
)
@pytest.mark.parametrize('mode', ['full_graph', 'spexphormer_estimator', 'spexphormer'])
def test_value_below_its_least_is_refused_and_the_least_is_not(
    graphgym_cfg: CfgNode, mode: str, key: str, low: float
) -> None:
    cfg = choose(graphgym_cfg, mode)
    set_keys(cfg, {key: low - 1})
    assert f'{key} needs at least {low:g}, got {low - 1}' in problems_of(cfg)
    set_keys(cfg, {key: low})
    problems = problems_of(cfg)  # of another kind: eval_period 1 with max_epoch 0 and the like
    assert not [problem for problem in problems if problem.startswith(f'{key} needs at least')]


def test_not_a_number_is_outside_every_range(graphgym_cfg: CfgNode) -> None:
    cfg = choose(graphgym_cfg, 'full_graph')
    for key, needs in {'gt.beta': 'at most 1', 'gt.dropout': 'to lie in [0, 1)'}.items():
        set_keys(cfg, {key: float('nan')})
        assert f'{key} needs {needs}, got nan' in problems_of(cfg)


@pytest.mark.parametrize('key', ['gt.dropout', 'gt.input_dropout', 'gnn.dropout'])
@pytest.mark.parametrize('value', [-0.1, 1.0])
def test_dropout_is_a_probability(graphgym_cfg: CfgNode, key: str, value: float) -> None:
    cfg = choose(graphgym_cfg, 'full_graph')
    set_keys(cfg, {key: value})
    assert problems_of(cfg) == [f'{key} needs to lie in [0, 1), got {value}']


@pytest.mark.parametrize('value', [-0.1, 1.1])
def test_weight_of_a_sum_lies_between_none_and_all(graphgym_cfg: CfgNode, value: float) -> None:
    cfg = choose(graphgym_cfg, 'full_graph')
    set_keys(cfg, {'gt.graph_weight': value})
    assert problems_of(cfg) == [f'gt.graph_weight needs to lie in [0, 1], got {value}']


def test_beta_is_a_share_or_negative(graphgym_cfg: CfgNode) -> None:
    cfg = choose(graphgym_cfg, 'full_graph')
    for value in (-1.0, 0.0, 1.0):
        set_keys(cfg, {'gt.beta': value})
        check_config(cfg)
    set_keys(cfg, {'gt.beta': 1.1})
    assert problems_of(cfg) == ['gt.beta needs at most 1, got 1.1']


@pytest.mark.parametrize('key', ['gnn.layers_mp', 'gnn.dim_inner', 'gnn.att_heads'])
def test_networks_of_pyg_have_a_layer_a_channel_and_a_head(graphgym_cfg: CfgNode, key: str) -> None:
    cfg = choose(graphgym_cfg, 'full_graph')
    set_keys(cfg, {'model.type': 'pyg_gcn', key: 0})
    assert problems_of(cfg) == [f'{key} needs at least 1, got 0']
    set_keys(cfg, {key: 1})
    check_config(cfg)
