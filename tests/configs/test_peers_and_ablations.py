"""Configs of PyG's models and of Spexphormer's ablations: one task per data set, and one difference each."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from shipped import CONFIGS, data_set_of, flat_of, of_groups, path_of, said

NAMES = [
    'minesweeper-grid', 'actor', 'minesweeper', 'tolokers', 'photo', 'computers', 'cs', 'physics', 'cora',
    'pubmed',
]  # fmt: skip
# Folder: model.type, and what sets apart two folders of one type.
PEERS: dict[str, tuple[str, dict[str, Any]]] = {
    'GCN': ('pyg_gcn', {}),
    'GraphSAGE': ('pyg_graphsage', {}),
    'GATv2': ('pyg_gatv2', {}),
    'GPS': ('pyg_gps', {'gt.attn_type': 'multihead'}),
    'GPSPerformer': ('pyg_gps', {'gt.attn_type': 'performer'}),
    'SGFormer': ('pyg_sgformer', {}),
    'Polynormer': ('pyg_polynormer', {}),
    'LINKX': ('pyg_linkx', {}),
    'MLP': ('pyg_mlp', {}),
    'ResGCN': ('pyg_residual_gcn', {}),
}
# Folder: what differs from Spexphormer in stage 1 (None: it has Spexphormer's, or needs none) and in stage 2.
ABLATIONS: dict[str, tuple[dict[str, Any] | None, dict[str, Any]]] = {
    'SpexphormerUniform': (None, {'spex.strategy': 'uniform', 'spex.estimator': ''}),
    'SpexphormerTop': (None, {'spex.strategy': 'top', 'spex.eval_draws': 1}),  # there is nothing to draw
    'SpexphormerNoAnnealing': ({'spex.temperature_decay': 1.0, 'spex.temperature_hold': 5}, {}),
    'SpexphormerNoLayerNorm': ({'gt.graph_norm': False}, {}),
}
# The full method does not anneal on Tolokers, and has no layer norm on Cora.
WITHOUT = {('SpexphormerNoAnnealing', 'tolokers'), ('SpexphormerNoLayerNorm', 'cora')}
CONSTANT = {'optim.scheduler': 'none'}
AS_POLYNORMER = {'gt.batch_norm': False, **CONSTANT}
# Settings that the text names as published: layers and width.
PUBLISHED = {
    'minesweeper-ResGCN': {
        'gnn.layers_mp': 12,
        'gnn.dim_inner': 64,
        'gnn.dropout': 0.2,
        'optim.base_lr': 0.01,
        'optim.max_epoch': 2000,
        **CONSTANT,
    },
    'tolokers-ResGCN': {'gnn.layers_mp': 7, 'gnn.dim_inner': 256},
    'photo-ResGCN': {
        'gnn.layers_mp': 6,
        'gnn.dim_inner': 256,
        'gnn.dropout': 0.5,
        'gt.layer_norm': True,
        'optim.max_epoch': 1000,
        **CONSTANT,
    },
    'minesweeper-Polynormer': {
        'gnn.layers_mp': 10,
        'gt.layers': 3,
        'gt.n_heads': 8,
        'gt.dim_hidden': 512,
        'gt.beta': -1.0,
        'optim.max_epoch': 2100,
        **AS_POLYNORMER,
    },
    'tolokers-Polynormer': {
        'gnn.layers_mp': 7,
        'gt.layers': 4,
        'gt.n_heads': 16,
        'gt.dim_hidden': 960,
        'gt.beta': 0.1,
        'optim.max_epoch': 900,
        **AS_POLYNORMER,
    },
    'photo-Polynormer': {'gnn.layers_mp': 7, 'gt.layers': 2, 'optim.max_epoch': 1200, **AS_POLYNORMER},
    'computers-Polynormer': {'gnn.layers_mp': 5, 'gt.layers': 1, 'optim.max_epoch': 1200, **AS_POLYNORMER},
    'cs-Polynormer': {'gnn.layers_mp': 5, 'gt.layers': 2, 'optim.max_epoch': 1600, **AS_POLYNORMER},
    'physics-Polynormer': {'gnn.layers_mp': 5, 'gt.layers': 4, 'optim.max_epoch': 1600, **AS_POLYNORMER},
    'cora-GCN': {'gnn.layers_mp': 2, 'gnn.dim_inner': 16, 'gnn.dropout': 0.5, 'optim.weight_decay': 5e-4},
    'cora-GATv2': {'gnn.att_heads': 8, 'gnn.dim_inner': 64, 'gnn.dropout': 0.6, 'optim.base_lr': 0.005},
}


def estimator_of(folder: str, name: str) -> Path:
    """The stage-1 config of an ablation that has its own."""
    return CONFIGS / folder / f'{name}-{folder.removeprefix("Spexphormer")}Estimator.yaml'


PEER_PATHS = {
    (folder, name): CONFIGS / folder / f'{name}-{folder}.yaml' for folder in PEERS for name in NAMES
}
ABLATION_PATHS = {
    (folder, name): CONFIGS / folder / f'{name}-{folder}.yaml'
    for folder in ABLATIONS
    for name in NAMES
    if (folder, name) not in WITHOUT
}
OWN_ESTIMATORS = {
    (folder, name): estimator_of(folder, name)
    for folder, name in ABLATION_PATHS
    if ABLATIONS[folder][0] is not None
}
PATHS = [*PEER_PATHS.values(), *ABLATION_PATHS.values(), *OWN_ESTIMATORS.values()]


def task(flat: dict[str, Any]) -> dict[str, Any]:
    """What has to be equal for all models of a data set: data, split, metric; not what models make of x."""
    keys = {
        key: value for key, value in flat.items() if key in ('metric_best', 'run_multiple_splits', 'seed')
    }
    data = of_groups(flat, 'dataset')
    return (
        keys
        | {key: value for key, value in data.items() if not re.search('encoder|normalize', key)}
        | {'prep.undirected': flat['prep.undirected']}
    )


def test_there_is_a_file_for_each_model_and_data_set_and_nothing_else() -> None:
    found = {path for folder in (*PEERS, *ABLATIONS) for path in (CONFIGS / folder).glob('*')}
    assert found == set(PATHS)


@pytest.mark.parametrize('name', NAMES)
def test_all_models_of_a_data_set_have_one_task(name: str) -> None:
    paths = [path for path in CONFIGS.glob(f'*/{name}-*.yaml') if data_set_of(path) == name]
    tasks = {path.stem: task(flat_of(path)) for path in paths}
    assert len(tasks) >= len(PEERS) + len(ABLATIONS)
    expected = tasks.pop(f'{name}-spexphormer')
    assert {stem: found for stem, found in tasks.items() if found != expected} == {}


@pytest.mark.parametrize('name', NAMES)
def test_models_of_pyg_train_alike_unless_published_otherwise(name: str) -> None:
    alike = {'optim.optimizer': 'adam', 'optim.scheduler': 'cosine_with_warmup', 'optim.num_warmup_epochs': 5}
    for folder in PEERS:
        expected = alike | PUBLISHED.get(f'{name}-{folder}', {})
        flat = flat_of(PEER_PATHS[folder, name])
        assert {key: flat[key] for key in alike} == {key: expected[key] for key in alike}, folder


@pytest.mark.parametrize(('folder', 'name'), PEER_PATHS, ids=['-'.join(key) for key in PEER_PATHS])
def test_model_of_pyg_has_its_type_and_what_is_published(folder: str, name: str) -> None:
    flat = flat_of(PEER_PATHS[folder, name])
    kind, apart = PEERS[folder]
    assert (flat['model.type'], flat['train.mode']) == (kind, 'full_graph')
    assert {key: flat[key] for key in apart} == apart
    assert (flat['prep.exp'], flat['prep.add_self_loops']) == (False, False)
    published = PUBLISHED.get(f'{name}-{folder}', {})
    assert {key: flat[key] for key in published} == published


@pytest.mark.parametrize(('folder', 'name'), ABLATION_PATHS, ids=['-'.join(key) for key in ABLATION_PATHS])
def test_ablation_differs_from_spexphormer_in_what_it_names_alone(folder: str, name: str) -> None:
    stage_1, stage_2 = ABLATIONS[folder]
    full, ablated = flat_of(path_of(name, 'spexphormer')), flat_of(ABLATION_PATHS[folder, name])
    if stage_1 is not None:
        own = estimator_of(folder, name)
        stage_2 = {**stage_2, 'spex.estimator': own.stem}
        first, own_first = flat_of(path_of(name, 'estimator')), flat_of(own)
        assert own_first == {**first, **stage_1} and own_first != first
        assert said(ABLATION_PATHS[folder, name], 'First').split()[3] == str(own.relative_to(CONFIGS.parent))
    assert ablated == {**full, **stage_2} and ablated != full
