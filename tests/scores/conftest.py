"""A small score store."""

from pathlib import Path

import pytest
import torch
from torch import Tensor
from toy_store import NUM_LAYERS

from graphgps_ext import scores
from graphgps_ext.graph import InNeighbors


@pytest.fixture
def graph() -> InNeighbors:
    """Four nodes; node 1 has no in-edges."""
    return InNeighbors(
        torch.tensor([0, 2, 2, 3, 6]),
        torch.tensor([0, 3, 2, 0, 1, 3], dtype=torch.int32),
        torch.tensor([2, 0, 2, 0, 1, 2], dtype=torch.int8),
        num_sources=4,
    )


@pytest.fixture
def layers() -> list[Tensor]:
    return [torch.tensor([0.25, 0.75, 1.0, 0.5, 0.5 - x, x]) for x in (0.125, 0.25, 0.0)]


@pytest.fixture
def manifest(graph: InNeighbors) -> scores.Manifest:
    return scores.Manifest(
        dataset='toy',
        num_nodes=graph.num_nodes,
        num_edges=graph.num_edges,
        num_layers=NUM_LAYERS,
        graph_fingerprint=scores.graph_fingerprint(graph),
        features_fingerprint='0a',
        labels_fingerprint='0b',
        split_fingerprint='abc',
        split='random, seed 0',
        estimator='0c',
        expander_algorithm='permutation',
        expander_degree=1,
        expander_seed=0,
        width=4,
        seed=0,
        epoch=17,
        temperature=0.5,
        metric='auc',
        metric_value=0.875,
    )


@pytest.fixture
def saved(tmp_path: Path, graph: InNeighbors, layers: list[Tensor], manifest: scores.Manifest) -> Path:
    path = tmp_path / 'estimator' / '0' / 'scores'
    scores.save(path, graph, layers, manifest)
    return path
