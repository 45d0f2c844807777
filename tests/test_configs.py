"""Every shipped config file loads, says how to run it, has the paper's settings and a model that runs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch_geometric.data import Data
from torch_geometric.graphgym.config import cfg, set_cfg
from torch_geometric.graphgym.loss import compute_loss
from torch_geometric.graphgym.utils.comp_budget import params_count

import graphgps_ext  # noqa: F401
from graphgps_ext.config.load import load_config
from graphgps_ext.loader import SparseNeighborLoader, graph, load_graph
from graphgps_ext.loader.neighbor_loader import full_batch
from graphgps_ext.sampling import SamplingPlan
from graphgps_ext.train.recipes import build_model
from graphgps_ext.train.results import flat_config

CONFIGS = Path(__file__).resolve().parent.parent / 'configs'
PATHS = sorted(path for folder in ('Exphormer', 'Spexphormer') for path in CONFIGS.glob(f'{folder}/*.yaml'))

RANDOM_60, RANDOM_50 = ('random', [0.6, 0.2, 0.2]), ('random', [0.5, 0.25, 0.25])
BALANCED, FIXED = ('class-balanced', [0.5, 0.25, 0.25]), ('standard', None)

# The data: format, name, features, classes (or tasks), fixed splits, metric, split.
DATASETS: dict[str, tuple[Any, ...]] = {
    'actor': ('PyG-Actor', 'actor', 932, 5, 10, 'accuracy', FIXED),
    'actor-balanced': ('PyG-Actor', 'actor', 932, 5, 10, 'accuracy', BALANCED),
    'minesweeper': ('PyG-HeterophilousGraphDataset', 'minesweeper', 7, 2, 10, 'auc', FIXED),
    'minesweeper-grid': ('grid', 'minesweeper', 7, 2, 0, 'auc', RANDOM_50),
    'tolokers': ('PyG-HeterophilousGraphDataset', 'tolokers', 10, 2, 10, 'auc', FIXED),
    'photo': ('PyG-Amazon', 'photo', 745, 8, 0, 'accuracy', RANDOM_60),
    'computers': ('PyG-Amazon', 'computers', 767, 10, 0, 'accuracy', RANDOM_60),
    'cs': ('PyG-Coauthor', 'cs', 6805, 15, 0, 'accuracy', RANDOM_60),
    'physics': ('PyG-Coauthor', 'physics', 8415, 5, 0, 'accuracy', RANDOM_60),
    'cora': ('PyG-Planetoid', 'cora', 1433, 7, 1, 'accuracy', FIXED),
    'pubmed': ('PyG-Planetoid', 'pubmed', 500, 3, 1, 'accuracy', FIXED),
    'arxiv': ('OGB', 'ogbn-arxiv', 128, 40, 1, 'accuracy', FIXED),
    'proteins': ('OGB', 'ogbn-proteins', 8, 112, 1, 'auc', FIXED),
    'amazon2m': ('OGB', 'ogbn-products', 100, 47, 1, 'accuracy', RANDOM_50),
    'pokec': ('Pokec', 'pokec', 65, 2, 5, 'accuracy', FIXED),
}

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

# Counted in the published code, which has one number more per head and layer: a bias of the edge-type term,
# which is the same for all types and cancels in the soft-max.
PUBLISHED_PARAMETERS = {'minesweeper': 34_577, 'tolokers': 35_761, 'actor': 56_849, 'photo': 148_024}

GROUPS = ['metric_best', 'dataset', 'prep', 'train', 'val', 'model', 'gt', 'spex', 'gnn', 'optim']


@pytest.fixture(autouse=True)
def _restored_cfg() -> Any:
    yield
    set_cfg(cfg)


def path_of(name: str, kind: str) -> Path:
    """The file of a data set: kind is estimator, spexphormer or Exphormer."""
    return CONFIGS / ('Exphormer' if kind == 'Exphormer' else 'Spexphormer') / f'{name}-{kind}.yaml'


def data_set_of(path: Path) -> str:
    return path.stem.rpartition('-')[0]


def load(path: Path) -> dict[str, Any]:
    """The config as flat keys; `cfg` holds it too."""
    load_config(cfg, path, ['gt.attention_impl', 'torch'])  # nothing to compile
    return flat_config(cfg)


def of_groups(flat: dict[str, Any], *groups: str) -> dict[str, Any]:
    return {key: value for key, value in flat.items() if key.split('.')[0] in groups}


def header(path: Path) -> list[str]:
    """The comment lines at the top, without their marks."""
    lines = path.read_text(encoding='utf-8').splitlines()
    end = next(number for number, line in enumerate(lines) if not line.startswith('#'))
    return [line.removeprefix('# ') for line in lines[:end]]


def said(path: Path, word: str) -> str:
    """What the header says after `word:`."""
    found = [line.partition(':')[2].strip() for line in header(path) if line.startswith(f'{word}:')]
    assert len(found) == 1 and found[0], f'{path.name} needs one header line "# {word}: ..."'
    return found[0]


def toy_data(name: str, num_nodes: int = 60) -> Data:
    """A random graph with the features, labels and fixed splits of a data set, as `load_data` returns it."""
    _, _, num_features, num_classes, num_splits, _, _ = DATASETS[name]
    generator = torch.Generator().manual_seed(0)
    data = Data(
        x=torch.randn(num_nodes, num_features, generator=generator),
        y=torch.arange(num_nodes) % num_classes,
        edge_index=torch.randint(num_nodes, (2, 3 * num_nodes), generator=generator),
    )
    if name == 'proteins':
        data.y = torch.randint(2, (num_nodes, num_classes), generator=generator).float()
    if num_splits:
        part = torch.rand(num_nodes, num_splits, generator=generator).argsort(dim=0) * 4 // num_nodes
        part = part[:, 0] if num_splits == 1 else part
        data.train_mask, data.val_mask, data.test_mask = part <= 1, part == 2, part == 3
    return data


def test_there_is_a_pair_for_each_data_set_and_nothing_else() -> None:
    expected = {path_of(name, kind) for name in SETTINGS for kind in ('estimator', 'spexphormer')}
    expected |= {path_of(name, 'Exphormer') for name in SETTINGS if name not in WITHOUT_EXPHORMER}
    assert set(PATHS) == expected


@pytest.mark.parametrize('path', PATHS, ids=lambda path: path.stem)
def test_header_says_what_it_is_how_to_run_it_and_what_to_expect(path: Path) -> None:
    kind = path.stem.rpartition('-')[2]
    stage = {'estimator': 'stage 1 of 2', 'spexphormer': 'stage 2 of 2', 'Exphormer': 'Exphormer'}[kind]
    assert stage in header(path)[0]
    assert said(path, 'Expected')
    needs_data = '' if data_set_of(path) == 'minesweeper-grid' else ' dataset.dir DIR'

    def command(target: Path) -> str:
        return f'python run/main.py --cfg {target.relative_to(CONFIGS.parent)}{needs_data}'

    assert said(path, 'Run') == command(path)
    if kind == 'spexphormer':
        assert said(path, 'First') == command(path_of(data_set_of(path), 'estimator'))


@pytest.mark.parametrize('path', PATHS, ids=lambda path: path.stem)
def test_groups_stand_in_one_order_and_no_line_is_wide(path: Path) -> None:
    text = path.read_text(encoding='utf-8')
    groups = re.findall(r'^(\w+):', text, flags=re.MULTILINE)
    assert groups == [group for group in GROUPS if group in groups]
    assert max(map(len, text.splitlines())) <= 110


@pytest.mark.parametrize('name', SETTINGS)
def test_estimator_has_the_published_settings(name: str) -> None:
    data_format, data_name, _, _, _, metric, (mode, ratios) = DATASETS[name]
    layers, degree, stage_1, _ = SETTINGS[name]
    flat = load(path_of(name, 'estimator'))
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
    flat = load(path_of(name, 'spexphormer'))
    batch_size = stage_2[6]
    keys = ['gt.dim_hidden', 'gt.n_heads', 'spex.layer_degrees', 'optim.base_lr', 'optim.max_epoch']
    keys += ['gt.dropout', 'train.batch_size', 'gnn.layers_pre_mp', 'gnn.layers_post_mp']
    got = [flat[key] for key in keys]
    if batch_size is None:
        got[6] = None  # not read
    assert tuple(got) == stage_2
    sampler = 'full_batch' if batch_size is None else 'spex_neighbor'
    assert (flat['train.sampler'], flat['val.sampler']) == (sampler, sampler)
    assert (flat['spex.strategy'], flat['spex.fill'], flat['spex.resample']) == ('weighted', 'mask', 'epoch')
    norms = (flat['gt.batch_norm'], flat['gt.graph_norm'], flat['gt.layer_norm'])
    assert norms == (name not in WITHOUT_NORM, False, False)


@pytest.mark.parametrize('path', PATHS, ids=lambda path: path.stem)
def test_optimisation_is_that_of_the_paper(path: Path) -> None:
    flat = load(path)
    tuned = data_set_of(path) in WITHOUT_NORM and flat['model.type'] != 'spex_estimator'
    assert (flat['optim.optimizer'], flat['optim.weight_decay']) == ('adamW', 5.9e-4 if tuned else 1e-3)
    assert (flat['optim.scheduler'], flat['optim.num_warmup_epochs']) == ('cosine_with_warmup', 5)
    assert (flat['optim.clip_grad_norm'], flat['optim.clip_grad_norm_value']) == (True, 1.0)
    assert (flat['train.eval_period'], flat['train.ckpt_period']) == (1, 10)
    # What the published pre-layer does beside the linear map.
    assert (flat['gnn.batchnorm'], flat['gnn.l2norm'], flat['gnn.act']) == (True, True, 'relu')


@pytest.mark.parametrize('name', SETTINGS)
def test_both_stages_share_data_split_expander_and_layers(name: str) -> None:
    first, second = load(path_of(name, 'estimator')), load(path_of(name, 'spexphormer'))
    assert of_groups(first, 'dataset', 'prep') == of_groups(second, 'dataset', 'prep')
    assert (first['metric_best'], first['out_dir']) == (second['metric_best'], second['out_dir'])
    fewer = second['spex.allow_fewer_layers'] and second['gt.layers'] < first['gt.layers']
    assert fewer or first['gt.layers'] == second['gt.layers']
    assert second['spex.estimator'] == path_of(name, 'estimator').stem


@pytest.mark.parametrize('name', [name for name in SETTINGS if name not in WITHOUT_EXPHORMER])
def test_exphormer_differs_from_spexphormer_only_in_seeing_the_whole_graph(name: str) -> None:
    full, sparse = load(path_of(name, 'Exphormer')), load(path_of(name, 'spexphormer'))
    differ = {key for key in full if full[key] != sparse[key]}
    always = {'train.mode', 'model.type', 'gnn.head', 'spex.estimator', 'spex.layer_degrees'}
    assert always <= differ <= {*always, 'spex.eval_draws'}


@pytest.mark.parametrize('path', PATHS, ids=lambda path: path.stem)
def test_model_runs_on_a_toy_graph(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    load(path)
    name = data_set_of(path)
    monkeypatch.setattr(graph, 'load_data', lambda *_, **__: toy_data(name))
    data = load_graph(cfg.dataset.format, cfg.dataset.name, cfg.dataset.dir)
    assert data is not None
    model = build_model(data)
    num_classes = DATASETS[name][3]
    num_outputs = 1 if num_classes == 2 else num_classes

    if cfg.train.mode == 'spexphormer':
        attention_graph = data.layers[0]
        scores = [torch.rand(attention_graph.num_edges) for _ in range(cfg.gt.layers)]
        plan = SamplingPlan(attention_graph, scores, cfg.spex.layer_degrees)
        if cfg.train.sampler == 'spex_neighbor':
            loader = SparseNeighborLoader(data, plan, key=0, input_nodes=data.train_mask, batch_size=20)
            batch = next(iter(loader))
            num_seeds = 20
        else:
            batch, num_seeds = full_batch(data, plan, key=0), data.num_nodes
    else:
        batch, num_seeds = data, data.num_nodes
    pred, true = model(batch)
    assert pred.shape == (num_seeds, num_outputs) and len(true) == num_seeds
    loss, _ = compute_loss(pred, true)
    loss.backward()
    assert loss.isfinite()

    if cfg.train.mode == 'spexphormer_estimator':
        scores = list(model.model.attention_scores(data))
        assert [len(layer) for layer in scores] == [data.layers[0].num_edges] * cfg.gt.layers
    elif name in PUBLISHED_PARAMETERS:
        surplus = cfg.gt.n_heads * cfg.gt.layers
        assert params_count(model.model) == PUBLISHED_PARAMETERS[name] - surplus
