"""The input of small runs: a graph of one's own, raw files of Planetoid, and a config file for each stage."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import runs
import scipy.sparse as sp

from graphgps_ext.config.tree import write_config

STAGES = ('estimator', 'spexphormer')
NODES = 80
KEYS: dict[str, Any] = {
    **runs.SMALL,
    'gt.attention_impl': 'auto',  # so that a file that has lost this line says the same
    'dataset.format': 'file',
    'dataset.name': 'mine',
    'dataset.path': 'graph.npz',
    'metric_best': 'auto',
    'out_dir': 'results',
    'train.ckpt_period': 1,
    'gt.dim_hidden': 8,
    'gnn.dim_inner': 8,
    'optim.max_epoch': 3,
}
OF_STAGE: dict[str, dict[str, Any]] = {
    'estimator': {},
    'spexphormer': {'spex.estimator': 'estimator', 'spex.layer_degrees': [3, 2], 'spex.eval_draws': 2},
    'polynormer': {'gt.local_epochs': 1},
    'planetoid': {
        'dataset.format': 'PyG-Planetoid',
        'dataset.name': 'Cora',
        'dataset.dir': 'data',
        'dataset.path': '',
    },
}
TEMPLATES = {'polynormer': 'Polynormer', 'planetoid': 'estimator'}
TRAIN, VALIDATION, TEST, CLASSES, FEATURES = 30, 500, 40, 3, 6  # PyG's reader takes 500 nodes for validation


def graph(seed: int) -> dict[str, np.ndarray]:
    """The arrays of a small graph of one's own; features are exact in every floating type."""
    draw = np.random.default_rng(seed)
    y = draw.permutation(np.arange(NODES) % 2)
    x = draw.integers(-16, 16, (NODES, 5)) / 8 + y[:, None] * 0.5
    edges = draw.integers(0, NODES, (2, 4 * NODES))
    return {'edge_index': edges, 'x': x.astype(np.float32), 'y': y}


def write_inputs(folder: Path, seed: int, changes: dict[str, Any]) -> None:
    """The graph and a config file for each stage."""
    folder.mkdir(parents=True)
    np.savez(folder / 'graph.npz', **graph(seed))  # type: ignore[arg-type]
    write_planetoid(folder / 'data', seed)
    for name, own in OF_STAGE.items():
        template = runs.CONFIGS[TEMPLATES.get(name, name)]
        write_config(folder / f'{name}.yaml', template, {**KEYS, **own, **changes}, 'A small run')


def write_planetoid(root: Path, seed: int) -> None:
    """A graph in the raw format of Planetoid's Cora."""
    folder = root / 'Planetoid' / 'Cora' / 'raw'
    folder.mkdir(parents=True)
    draw = np.random.default_rng(seed)
    nodes = TRAIN + VALIDATION + TEST
    classes = draw.integers(0, CLASSES, nodes)
    x = (draw.random((nodes, FEATURES)) < 0.3 + 0.1 * classes[:, None]).astype(np.float32)
    y = np.eye(CLASSES, dtype=np.int32)[classes]
    first = nodes - TEST
    contents = {
        'x': sp.csr_matrix(x[:TRAIN]),
        'tx': sp.csr_matrix(x[first:]),
        'allx': sp.csr_matrix(x[:first]),
        'y': y[:TRAIN],
        'ty': y[first:],
        'ally': y[:first],
        'graph': {i: [int(j) for j in draw.integers(0, nodes, 2)] for i in range(nodes)},
    }
    for part, content in contents.items():
        (folder / f'ind.cora.{part}').write_bytes(pickle.dumps(content, protocol=2))
    order = draw.permutation(np.arange(first, nodes))
    (folder / 'ind.cora.test.index').write_text(''.join(f'{i}\n' for i in order))
