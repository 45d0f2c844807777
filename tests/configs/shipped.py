"""The config files of the repository: their comments, their keys, and data to try them on."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import runs
import torch
from torch_geometric.data import Data
from torch_geometric.graphgym.config import cfg

from graphgps_ext.config.load import load_config
from graphgps_ext.train.results import flat_config

CONFIGS = runs.REPOSITORY / 'configs'
MODELS = sorted(path for path in CONFIGS.glob('*/*.yaml') if path.parent.name != 'search')
SPACES = sorted(CONFIGS.glob('search/*.yaml'))

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


def path_of(name: str, kind: str) -> Path:
    """The file of a data set: kind is estimator, spexphormer or the name of another folder."""
    return CONFIGS / ('Spexphormer' if kind in ('estimator', 'spexphormer') else kind) / f'{name}-{kind}.yaml'


def data_set_of(path: Path) -> str:
    return path.stem.rpartition('-')[0]


def load(path: Path) -> dict[str, Any]:
    """The config as flat keys; `cfg` holds it too."""
    load_config(cfg, path, ['gt.attention_impl', 'torch'])  # nothing to compile
    return flat_config(cfg)


flat_of = functools.cache(load)  # for those who read the keys alone


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
