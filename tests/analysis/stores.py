"""Score stores for the tests, in memory and on disk, and slow, obvious versions of the measures."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from graphgps_ext import scores
from graphgps_ext.graph import InNeighbors

DEGREES = (5, 0, 1, 3, 12, 2, 7, 1, 30, 4)


def toy_scores(
    layers: Sequence[Sequence[Sequence[float]]],
    edge_types: Sequence[Sequence[int]] | None = None,
    **changes: Any,
) -> scores.AttentionScores:
    """Scores given as layers of rows of weights; all edges are graph edges unless types say otherwise."""
    counts = [len(row) for row in layers[0]]
    indptr = torch.tensor([0, *itertools.accumulate(counts)])
    types = [[0] * count for count in counts] if edge_types is None else edge_types
    graph = InNeighbors(
        indptr,
        torch.arange(int(indptr[-1]), dtype=torch.int32) % len(counts),
        torch.tensor([t for row in types for t in row], dtype=torch.int8),
        num_sources=len(counts),
    )
    manifest = {
        'dataset': 'toy',
        'num_nodes': graph.num_nodes,
        'num_edges': graph.num_edges,
        'num_layers': len(layers),
        'graph_fingerprint': scores.graph_fingerprint(graph),
        'features_fingerprint': '0a',
        'labels_fingerprint': '0b',
        'split_fingerprint': 'abc',
        'split': 'random, split_seed 0',
        'estimator': '0c',
        'expander_algorithm': 'permutation',
        'expander_degree': 1,
        'expander_seed': 0,
        'width': 4,
        'seed': 0,
        'epoch': 17,
        'temperature': 0.5,
        'metric': 'auc',
        'metric_value': 0.875,
        **changes,
    }
    flat = [torch.tensor([w for row in rows for w in row], dtype=torch.float32) for rows in layers]
    return scores.AttentionScores(tuple(flat), graph, scores.Manifest(**manifest))


def random_scores(
    seed: int = 0, num_layers: int = 3, degrees: Sequence[int] = DEGREES, **changes: Any
) -> scores.AttentionScores:
    """Rows of soft-maxed noise on one graph, the same for every seed; a row ends with a self-loop."""
    rng = np.random.default_rng(seed)
    layers = []
    for _ in range(num_layers):
        rows = [np.exp(2 * rng.standard_normal(degree)) for degree in degrees]
        layers.append([(row / row.sum()).tolist() if row.size else [] for row in rows])
    types = [[*(i % 2 for i in range(degree - 1)), 2][-degree:] if degree else [] for degree in degrees]
    return toy_scores(layers, types, seed=seed, **changes)


def saved(folder: Path, found: scores.AttentionScores) -> Path:
    """Writes a store to `folder`/scores."""
    scores.save(folder / 'scores', found.graph, found.layers, found.manifest)
    return folder / 'scores'


def rows_of(found: scores.AttentionScores, layer: int, drop_types: Sequence[int] = ()) -> list[np.ndarray]:
    """The weights of each node with in-edges, divided by their sum, as float64."""
    indptr = found.graph.indptr.tolist()
    rows = []
    for start, stop in itertools.pairwise(indptr):
        types = found.graph.edge_type[start:stop].tolist()
        row = found.layers[layer][start:stop].double().numpy()
        row = row[[t not in drop_types for t in types]]
        if row.size and row.sum() > 0:
            rows.append(row / row.sum())
    return rows


def energy_oracle(p: np.ndarray, q: np.ndarray) -> float:
    """By the definition: every pair of values."""
    between = np.mean([abs(x - y) for x in p for y in q])
    within = np.mean([abs(x - y) for x in p for y in p]) + np.mean([abs(x - y) for x in q for y in q])
    return math.sqrt(max(2 * between - within, 0.0))


def entropy_oracle(p: np.ndarray) -> float:
    return -sum(x * math.log(x) for x in p.tolist() if x > 0)


def coverage_oracle(p: np.ndarray, k: int) -> float:
    return sum(sorted(p.tolist(), reverse=True)[:k])


def kept_oracle(p: np.ndarray, degree: int) -> float:
    """The rate equation, solved by bisection."""
    if degree >= (p > 0).sum():
        return 1.0
    low, high = 0.0, 1.0
    while (1 - np.exp(-p * high)).sum() < degree:
        high *= 2
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if (1 - np.exp(-p * middle)).sum() < degree else (low, middle)
    return float((p * (1 - np.exp(-p * low))).sum())
