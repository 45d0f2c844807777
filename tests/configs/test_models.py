"""Every shipped config file has a model that runs, forward and backward, on data of its shape."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from shipped import DATASETS, MODELS, data_set_of, load, toy_data
from torch_geometric.data import Data
from torch_geometric.graphgym.config import cfg
from torch_geometric.graphgym.loss import compute_loss
from torch_geometric.graphgym.utils.comp_budget import params_count

from graphgps_ext.loader import SparseNeighborLoader, graph, load_graph
from graphgps_ext.loader.datasets import Source
from graphgps_ext.loader.neighbor_loader import full_batch
from graphgps_ext.network import PlainNetwork
from graphgps_ext.sampling import SamplingPlan
from graphgps_ext.train.recipes import build_model
from graphgps_ext.transform.batch import plain_graph

# Counted in the published code, which has one number more per head and layer: a bias of the edge-type term,
# which is the same for all types and cancels in the soft-max.
PUBLISHED_PARAMETERS = {'minesweeper': 34_577, 'tolokers': 35_761, 'actor': 56_849, 'photo': 148_024}


def batch_of(data: Data) -> tuple[Data, int]:
    """What the recipe of `cfg` would train on, and for how many nodes it predicts."""
    if cfg.model.type.startswith('pyg_'):
        return plain_graph(data), data.num_nodes
    if cfg.train.mode != 'spexphormer':
        return data, data.num_nodes
    attention_graph = data.layers[0]
    scores = [torch.rand(attention_graph.num_edges) for _ in range(cfg.gt.layers)]
    scores = [None] * cfg.gt.layers if cfg.spex.strategy == 'uniform' else scores
    degrees = (cfg.spex.layer_degrees * cfg.gt.layers)[: cfg.gt.layers]  # one serves all layers
    plan = SamplingPlan(attention_graph, scores, degrees, strategy=cfg.spex.strategy)
    if cfg.train.sampler == 'full_batch':
        return full_batch(data, plan, key=0), data.num_nodes
    loader = SparseNeighborLoader(data, plan, key=0, input_nodes=data.train_mask, batch_size=20)
    return next(iter(loader)), 20


@pytest.mark.parametrize('path', MODELS, ids=lambda path: path.stem)
def test_model_runs_on_a_toy_graph(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    load(path)
    name = data_set_of(path)
    monkeypatch.setattr(graph, 'load_data', lambda *_, **__: Source(toy_data(name)))
    data = load_graph(cfg.dataset.format, cfg.dataset.name, cfg.dataset.dir)
    assert data is not None
    model = build_model(data)
    assert isinstance(model.model, PlainNetwork) == cfg.model.type.startswith('pyg_')
    num_classes = DATASETS[name][3]
    batch, num_seeds = batch_of(data)
    pred, true = model(batch)
    assert pred.shape == (num_seeds, 1 if num_classes == 2 else num_classes) and len(true) == num_seeds
    loss, _ = compute_loss(pred, true)
    loss.backward()
    assert loss.isfinite()
    if cfg.train.mode == 'spexphormer_estimator':
        scores = list(model.model.attention_scores(data))
        assert [len(layer) for layer in scores] == [data.layers[0].num_edges] * cfg.gt.layers
    elif path.parent.name in ('Spexphormer', 'Exphormer') and name in PUBLISHED_PARAMETERS:
        surplus = cfg.gt.n_heads * cfg.gt.layers
        assert params_count(model.model) == PUBLISHED_PARAMETERS[name] - surplus
