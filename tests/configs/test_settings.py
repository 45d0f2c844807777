"""The configs of Spexphormer and Exphormer have the paper's settings, and their stages fit each other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from shipped import CONFIGS, DATASETS, data_set_of, flat_of, of_groups, path_of

PATHS = sorted(path for folder in ('Exphormer', 'Spexphormer') for path in CONFIGS.glob(f'{folder}/*.yaml'))

# The settings of the paper and of its public configurations; minesweeper-grid has fewer epochs, for a
# demonstration; the paper has no Cora and PubMed. Columns: L, r of the expander; stage 1: d, epochs, lr, γ,
# hold; stage 2: d, H, K per layer, lr, epochs, dropout, seeds per batch (None: all), linear layers before and
# after the transformer.
# fmt: off
SETTINGS: dict[str, tuple[Any, ...]] = {
    'actor': (3, 15, (4, 100, .01, .99, 20), (32, 4, [2, 2, 2], .01, 100, .5, None, 1, 1)),
    'actor-balanced': (3, 15, (4, 100, .01, .99, 20), (32, 4, [2, 2, 2], .01, 100, .5, None, 0, 1)),
    'minesweeper': (4, 15, (4, 100, .01, .99, 5), (32, 4, [12, 5, 5, 5], .01, 80, .2, None, 0, 1)),
    'minesweeper-grid': (4, 15, (4, 60, .01, .99, 5), (32, 4, [12, 5, 5, 5], .01, 60, .2, None, 0, 1)),
    'tolokers': (4, 15, (4, 100, .01, 1.0, 5), (32, 4, [12, 10, 10, 10], .01, 200, .25, None, 1, 1)),
    'photo': (4, 15, (4, 100, .1, .95, 20), (56, 2, [5, 5, 5, 5], .01, 100, .5, None, 1, 1)),
    'computers': (4, 15, (4, 200, .01, .99, 5), (80, 2, [5, 5, 5, 5], .001, 150, .5, None, 1, 1)),
    'cs': (4, 15, (4, 200, .01, .99, 5), (64, 2, [5, 5, 5, 5], .002, 120, .4, None, 1, 1)),
    'physics': (4, 15, (4, 200, .01, .99, 5), (64, 2, [5, 5, 5, 5], .001, 80, .4, None, 0, 1)),
    'cora': (2, 1, (8, 100, .01, .99, 5), (32, 4, [3, 3], .005, 100, .32, None, 1, 1)),
    'pubmed': (2, 5, (4, 100, .01, .99, 5), (32, 4, [5, 5], .01, 100, .5, None, 1, 1)),
    'arxiv': (3, 15, (8, 200, .01, .99, 5), (96, 2, [6, 6, 6], .001, 600, .3, None, 1, 1)),
    'proteins': (2, 100, (8, 200, .01, .99, 20), (64, 1, [50, 30], .005, 200, .1, 256, 1, 1)),
    'amazon2m': (2, 15, (8, 200, .01, .99, 20), (128, 1, [10, 10], .001, 200, .2, 1000, 1, 1)),
    'pokec': (2, 5, (8, 150, .01, .95, 10), (64, 1, [20, 20], .001, 300, .2, 500, 2, 2)),
}
# fmt: on
WITHOUT_NORM = ('cora',)  # not published: settings of a search, which left norms away
WITHOUT_EXPHORMER = {'proteins', 'amazon2m', 'pokec'}  # the full attention graph is too large


def test_there_is_a_pair_for_each_data_set_and_nothing_else() -> None:
    expected = {path_of(name, kind) for name in SETTINGS for kind in ('estimator', 'spexphormer')}
    expected |= {path_of(name, 'Exphormer') for name in SETTINGS if name not in WITHOUT_EXPHORMER}
    assert set(PATHS) == expected


@pytest.mark.parametrize('name', SETTINGS)
def test_estimator_has_the_published_settings(name: str) -> None:
    data_format, data_name, _, _, _, metric, (mode, ratios) = DATASETS[name]
    layers, degree, stage_1, _ = SETTINGS[name]
    flat = flat_of(path_of(name, 'estimator'))
    assert (flat['dataset.format'], flat['dataset.name']) == (data_format, data_name)
    assert (flat['metric_best'], flat['gt.layers'], flat['prep.exp_deg']) == (metric, layers, degree)
    assert flat['dataset.split_mode'] == mode
    assert ratios is None or flat['dataset.split'] == ratios
    keys = ['gt.dim_hidden', 'optim.max_epoch', 'optim.base_lr']
    keys += ['spex.temperature_decay', 'spex.temperature_hold']
    assert tuple(flat[key] for key in keys) == stage_1
    assert flat['spex.temperature_min'] == 0.05
    assert (flat['gt.n_heads'], flat['gt.dropout'], flat['gnn.dropout']) == (1, 0.0, 0.0)
    norms = (flat['gt.graph_norm'], flat['gt.batch_norm'], flat['gt.layer_norm'])
    assert norms == (name not in WITHOUT_NORM, False, False)
    assert (flat['gnn.layers_pre_mp'], flat['gnn.layers_post_mp']) == (1, 1)


@pytest.mark.parametrize('name', SETTINGS)
def test_spexphormer_has_the_published_settings(name: str) -> None:
    stage_2 = SETTINGS[name][3]
    flat = flat_of(path_of(name, 'spexphormer'))
    batch_size = stage_2[6]
    keys = ['gt.dim_hidden', 'gt.n_heads', 'spex.layer_degrees', 'optim.base_lr', 'optim.max_epoch']
    keys += ['gt.dropout', 'train.batch_size', 'gnn.layers_pre_mp', 'gnn.layers_post_mp']
    got = [flat[key] for key in keys]
    if batch_size is None:
        got[6] = None  # not read
    assert tuple(got) == stage_2
    samplers = ('full_batch', 'full_batch') if batch_size is None else ('spex_neighbor', 'spex_layerwise')
    assert (flat['train.sampler'], flat['val.sampler']) == samplers
    assert (flat['spex.strategy'], flat['spex.fill'], flat['spex.resample']) == ('weighted', 'mask', 'epoch')
    norms = (flat['gt.batch_norm'], flat['gt.graph_norm'], flat['gt.layer_norm'])
    assert norms == (name not in WITHOUT_NORM, False, False)


@pytest.mark.parametrize('path', PATHS, ids=lambda path: path.stem)
def test_optimisation_is_that_of_the_paper(path: Path) -> None:
    flat = flat_of(path)
    tuned = data_set_of(path) in WITHOUT_NORM and flat['model.type'] != 'spex_estimator'
    assert (flat['optim.optimizer'], flat['optim.weight_decay']) == ('adamW', 5.9e-4 if tuned else 1e-3)
    assert (flat['optim.scheduler'], flat['optim.num_warmup_epochs']) == ('cosine_with_warmup', 5)
    assert (flat['optim.clip_grad_norm'], flat['optim.clip_grad_norm_value']) == (True, 1.0)
    assert flat['train.eval_period'] == 1
    # What the published pre-layer does beside the linear map.
    assert (flat['gnn.batchnorm'], flat['gnn.l2norm'], flat['gnn.act']) == (True, True, 'relu')


@pytest.mark.parametrize('name', SETTINGS)
def test_both_stages_share_data_split_expander_and_layers(name: str) -> None:
    first, second = flat_of(path_of(name, 'estimator')), flat_of(path_of(name, 'spexphormer'))
    assert of_groups(first, 'dataset', 'prep') == of_groups(second, 'dataset', 'prep')
    assert (first['metric_best'], first['out_dir']) == (second['metric_best'], second['out_dir'])
    fewer = second['spex.allow_fewer_layers'] and second['gt.layers'] < first['gt.layers']
    assert fewer or first['gt.layers'] == second['gt.layers']
    assert second['spex.estimator'] == path_of(name, 'estimator').stem


@pytest.mark.parametrize('name', [name for name in SETTINGS if name not in WITHOUT_EXPHORMER])
def test_exphormer_differs_from_spexphormer_only_in_seeing_the_whole_graph(name: str) -> None:
    full, sparse = flat_of(path_of(name, 'Exphormer')), flat_of(path_of(name, 'spexphormer'))
    differ = {key for key in full if full[key] != sparse[key]}
    always = {'train.mode', 'model.type', 'gnn.head', 'spex.estimator', 'spex.layer_degrees'}
    assert always <= differ <= {*always, 'spex.eval_draws'}
