"""Every key of ours is read somewhere, can be turned, and has the choices of the part that uses it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from torch_geometric.graphgym.register import network_dict
from yacs.config import CfgNode

import graphgps_ext
from graphgps_ext.capabilities import Capabilities, capabilities
from graphgps_ext.config import KEYS
from graphgps_ext.config.load import load_config
from graphgps_ext.config.tree import flatten
from graphgps_ext.sampling.kernels import TOP, UNIFORM, WEIGHTED
from graphgps_ext.sampling.strategies import STRATEGIES

BASE = """
dataset: {format: grid, task: node, split_mode: random}
gnn: {head: node, dim_inner: 32}
model: {type: spex_exphormer}
"""
# Another value than the default, and what it needs beside it.
TURNED: dict[str, tuple[Any, dict[str, Any]]] = {
    'train.mode': ('spexphormer_estimator', {'model.type': 'spex_estimator', 'gt.n_heads': 1}),
    'gt.dim_hidden': (64, {'gnn.dim_inner': 64}),
    'gt.graph_norm': (True, {'gt.batch_norm': False}),
    'gt.layer_norm': (True, {'gt.batch_norm': False}),
    **{key: (value, {}) for key, value in {
        'run_multiple_splits': [0, 2],
        'share.num_nodes': 7,
        'dataset.split_mode': 'class-balanced', 'dataset.split_index': 3, 'dataset.split_seed': 1,
        'dataset.planetoid_split': 'geom-gcn', 'dataset.path': 'some.npz', 'dataset.hash_again': True,
        'dataset.grid_side': 2,
        'dataset.grid_seed': 1, 'dataset.normalize_features': 'row',
        'train.overwrite': True, 'train.run_id': 'mine', 'train.precision': 'bf16-mixed',
        'train.cuda_graphs': False,
        'optim.num_warmup_epochs': 0, 'optim.clip_grad_norm': False, 'optim.clip_grad_norm_value': 0.5,
        'optim.batch_accumulation': 2,
        'gt.layers': 1, 'gt.n_heads': 8, 'gt.dropout': 0.9, 'gt.input_dropout': 0.9, 'gt.residual': False,
        'gt.batch_norm': False, 'gt.pre_norm': True, 'gt.linear_skip': True, 'gt.feed_forward': False,
        'gt.local_gnn_type': 'gcn', 'gt.local_edges': 'sampled', 'gt.jumping_knowledge': 'lstm',
        'gt.attention_impl': 'torch', 'gt.attn_type': 'performer', 'gt.graph_weight': 1.0, 'gt.beta': 0.9,
        'gt.local_epochs': 200,
        'posenc_LapPE.enable': True, 'posenc_LapPE.eigen.max_freqs': 1, 'posenc_RWSE.enable': True,
        'posenc_RWSE.walk_length': 1,
        'prep.undirected': False, 'prep.exp': False, 'prep.exp_deg': 1, 'prep.exp_algorithm': 'hamiltonian',
        'prep.exp_seed': 1, 'prep.add_self_loops': False, 'prep.num_virt_node': 1, 'prep.edge_attr': True,
        'prep.cache_dir': 'graphs', 'prep.cache_gb': 1.0,
        'spex.logit_clamp': 8.0, 'spex.normalize_values': False, 'spex.temperature_decay': 1.0,
        'spex.temperature_min': 1.0, 'spex.temperature_hold': 0, 'spex.select_after_hold': True,
        'spex.estimator': 'stage-1', 'spex.estimator_seed': 0, 'spex.allow_fewer_layers': True,
        'spex.score_layers': [0], 'spex.layer_degrees': [4], 'spex.strategy': 'top', 'spex.resample': 'batch',
        'spex.resample_every': 2, 'spex.fill': 'repeat', 'spex.eval_draws': 3,
    }.items()},
}  # fmt: skip
# Those not written out in the package: by GraphGym's from_config, and by the names of the norms.
READ_OTHERWISE = {'optim.num_warmup_epochs', 'gt.batch_norm', 'gt.graph_norm', 'gt.layer_norm'}


def test_every_key_is_turned_below() -> None:
    assert TURNED.keys() == KEYS.keys()


@pytest.mark.parametrize('key', TURNED)
def test_a_checked_config_takes_another_value(graphgym_cfg: CfgNode, tmp_path: Path, key: str) -> None:
    value, beside = TURNED[key]
    assert value != KEYS[key].default
    path = tmp_path / 'some.yaml'
    of_run = key.startswith('share.')  # in the config that a run has written, and nowhere else
    path.write_text(f'{BASE}{key}: {value}\n' if of_run else BASE)
    given = {} if of_run else {**beside, key: value}
    pairs = [str(part) for pair in given.items() for part in pair]
    load_config(graphgym_cfg, path, pairs)
    assert dict(flatten(graphgym_cfg))[key] == value


@pytest.mark.parametrize('key', sorted(KEYS.keys() - READ_OTHERWISE))
def test_a_part_that_is_no_config_reads_it(key: str) -> None:
    package = Path(graphgps_ext.__file__).parent
    files = [*package.rglob('*.py'), *package.parent.glob('run/*.py')]
    read = [f for f in files if f.parent.name != 'config' and f'cfg.{key}' in f.read_text(encoding='utf-8')]
    assert read


def test_defaults_are_not_shared_between_configs(graphgym_cfg: CfgNode) -> None:
    graphgym_cfg.spex.layer_degrees.append(3)
    assert KEYS['spex.layer_degrees'].default == []


def test_strategies_have_the_numbers_of_the_compiled_draw() -> None:
    assert [STRATEGIES[number] for number in (WEIGHTED, UNIFORM, TOP)] == ['weighted', 'uniform', 'top']


def test_networks_of_other_plugins_have_the_capabilities_of_graphgyms(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(network_dict, 'theirs', lambda dim_in, dim_out: None)
    assert capabilities('theirs') == capabilities('gnn') == capabilities('not registered') == Capabilities()


def test_networks_say_what_they_can_do() -> None:
    ours = {name: capabilities(name) for name in network_dict if name.startswith(('pyg_', 'spex'))}
    assert {name for name, can in ours.items() if can.plain} == {n for n in ours if n.startswith('pyg_')}
    assert {name for name, can in ours.items() if not can.sees_edges} == {'pyg_mlp'}
    assert {name for name, can in ours.items() if can.plain and not can.parts} == {'pyg_linkx'}
    assert {name for name, can in ours.items() if can.phases} == {'pyg_polynormer'}
    sparse = {'spex_estimator', 'spex_exphormer', 'spexphormer'}
    assert {name for name, can in ours.items() if can.temperature} == sparse
    assert {name for name, can in ours.items() if can.gt_width} == sparse
