"""Configs and results of a benchmark without training: files as the user and run/main.py would write them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
import yaml

from graphgps_ext import scores
from graphgps_ext.benchmark.configs import find_files, read_configs
from graphgps_ext.benchmark.plan import Run, plan_runs
from graphgps_ext.graph import InNeighbors
from graphgps_ext.train import results
from graphgps_ext.train.handover import score_inputs

GRID = {'format': 'grid', 'name': 'minesweeper', 'grid_side': 12, 'split_mode': 'random'}
GRID |= {'split': [0.5, 0.25, 0.25]}
ACTOR = {'format': 'PyG-Actor', 'name': 'actor'}
BASE: dict[str, Any] = {'gt': {'layers': 2, 'dim_hidden': 8, 'n_heads': 1}, 'gnn': {'dim_inner': 8}}
OF_MODE: dict[str, dict[str, Any]] = {
    'full_graph': {'model': {'type': 'spex_exphormer'}},
    'spexphormer_estimator': {'model': {'type': 'spex_estimator'}},
    'spexphormer': {
        'model': {'type': 'spexphormer'},
        'gnn': {'dim_inner': 8, 'head': 'spex_seed_node'},
        'spex': {'layer_degrees': [3, 2], 'estimator': 'actor-estimator'},
    },
}
INPUTS = {'features': 'f', 'edges': 'e', 'labels': 'l', 'split': 'split 0'}
VERSIONS = {'python': '3.11.7', 'torch': '2.13.0+cpu', 'torch_geometric': '2.8.1', 'graphgps_ext': '0.1.0'}


def write_config(path: Path, mode: str = 'full_graph', **groups: dict[str, Any]) -> Path:
    """A config file on Actor (`dataset=GRID` for the grid) that passes all checks."""
    tree = {'dataset': dict(ACTOR), 'train': {'mode': mode}} | BASE | OF_MODE[mode]
    for group, values in groups.items():
        tree[group] = values if group == 'dataset' else {**tree.get(group, {}), **values}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(tree))
    return path


def write_pair(folder: Path, model: str = 'Spexphormer') -> tuple[Path, Path]:
    """Both stages in one folder, as the package ships them."""
    first = write_config(folder / model / 'actor-estimator.yaml', 'spexphormer_estimator')
    return first, write_config(folder / model / 'actor-spexphormer.yaml', 'spexphormer')


def plan(*paths: Path, overrides: tuple[str, ...] = (), **options: Any) -> list[Run]:
    """The runs of config files."""
    return plan_runs(read_configs(find_files([str(path) for path in paths]), overrides), **options)


def summary(test: float, **changes: Any) -> dict[str, Any]:
    """What a finished run leaves in summary.json."""
    metrics = {'accuracy': test, 'f1': test / 2}
    content = {
        'metric': 'accuracy',
        'best_epoch': 7,
        'epochs': 10,
        'train': {'loss': 0.1, **metrics},
        'val': {**metrics, 'accuracy': round(test + 0.01, 6)},
        'test': metrics,
        'params': 1234,
        'seconds_per_epoch': 0.5,
        'seconds_total': 5.0,
        'peak_rss_mb': 700.0,
        'peak_gpu_mb': 0.0,
        'device': 'cpu',
        'device_name': 'cpu, 1 threads',
        'num_nodes': 100,
        'edges': 400,
        'kept_share': 100.0,
        'versions': VERSIONS,
        'git_revision': '1234567',
    }
    return content | changes


def leave(folder: Path, config: str, content: dict[str, Any], inputs: dict[str, str]) -> None:
    """Writes what a finished run leaves: its config, its summary, and the fingerprints of what it read."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / 'config.yaml').write_text(config)
    (folder / 'inputs.json').write_text(json.dumps({**INPUTS, **inputs}))
    (folder / 'summary.json').write_text(json.dumps(content))
    results.finish(folder)


def write_scores(folder: Path, seed: int, value: float) -> None:
    """A score store of two nodes and one layer."""
    graph = InNeighbors(
        torch.tensor([0, 2, 2]),
        torch.tensor([0, 1], dtype=torch.int32),
        torch.tensor([2, 0], dtype=torch.int8),
        num_sources=2,
    )
    manifest = scores.Manifest(
        dataset='toy',
        num_nodes=2,
        num_edges=2,
        num_layers=1,
        graph_fingerprint=scores.graph_fingerprint(graph),
        features_fingerprint='f',
        labels_fingerprint='l',
        split_fingerprint='split 0',
        split='standard, split_index 0',
        estimator='one',
        expander_algorithm='permutation',
        expander_degree=0,
        expander_seed=0,
        width=4,
        seed=seed,
        epoch=7,
        temperature=1.0,
        metric='accuracy',
        metric_value=value,
    )
    scores.save(folder, graph, [torch.tensor([value, 1 - value])], manifest, overwrite=True)


def finish(run: Run, out: Path, test: float = 0.5, **changes: Any) -> Path:
    """Leaves behind what a finished run does, and gives its folder."""
    folder = run.folder(out)
    content = summary(test, seed=run.seed, **changes)
    leave(folder, run.cfg(out).dump(), content, {'split': f'split {run.split}'})
    return folder


def fake_result(
    out: Path, model: str, tests: list[float], dataset: str = 'actor', **changes: Any
) -> list[Path]:
    """Finished runs of one model with seeds 0, 1, ...; gives their folders.

    Args:
        out: the folder of the benchmark.
        model: its name; with `estimator` in it, there are scores.
        tests: the test metric of each.
        dataset: its name.
        changes: `keys`, a group of keys of the config; `inputs`; others are of the summary.
    """
    folders = []
    keys, inputs = changes.pop('keys', {}), changes.pop('inputs', {})
    if 'scores' in changes:
        inputs = {**score_inputs(scores.read_manifest(Path(changes['scores']))), **inputs}
    for seed, test in enumerate(tests):
        folder = out / dataset / model / f'split-0-seed-{seed}'
        split = {'split_mode': 'standard', 'split_index': 0, 'split_seed': 0}
        tree = {'seed': seed, 'dataset': {'name': dataset, **split}, **keys}
        tree['train'] = {'sampler': 'full_batch', 'batch_size': 16}
        if 'estimator' in model:
            write_scores(folder / 'scores', seed, test)
        leave(folder, yaml.safe_dump(tree), summary(test, seed=seed, **changes), inputs)
        record = {
            'dataset': dataset,
            'model': model,
            'config_file': f'configs/{model}/{dataset}-{model}.yaml',
        }
        (folder.parent / 'benchmark.json').write_text(json.dumps(record))
        folders.append(folder)
    return folders
