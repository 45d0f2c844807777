"""Our blocks as layers of GraphGym's stock network `gnn`."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch_geometric.data import Data
from torch_geometric.graphgym.loss import compute_loss
from torch_geometric.graphgym.model_builder import create_model
from torch_geometric.graphgym.register import layer_dict
from yacs.config import CfgNode

from graphgps_ext.layer.graphgym import SparseLayer
from graphgps_ext.loader import SparseNeighborLoader, load_graph
from graphgps_ext.loader.neighbor_loader import full_batch, node_data
from graphgps_ext.sampling import SamplingPlan


@pytest.fixture
def stock(graphgym_cfg: CfgNode) -> CfgNode:
    """GraphGym's network with two of our layers, on a grid of 64 nodes."""
    c = graphgym_cfg
    c.accelerator = 'cpu'
    c.dataset.format, c.dataset.name, c.dataset.grid_side = 'grid', 'minesweeper', 8
    c.dataset.split_mode = 'random'
    c.dataset.edge_encoder, c.dataset.edge_encoder_name = True, 'spex_expander_edge'
    c.dataset.edge_encoder_bn = False
    c.prep.exp_deg = 2
    c.model.type, c.gnn.layer_type = 'gnn', 'spex_exphormer'
    c.gnn.layers_pre_mp, c.gnn.layers_mp, c.gnn.dim_inner, c.gnn.head = 1, 2, 8, 'node'
    c.gt.n_heads = 2
    c.share.dim_in, c.share.dim_out = 7, 2
    return c


def load() -> Data:
    data = load_graph('grid', 'minesweeper', '')
    assert data is not None
    data.split = 'train'
    return data


@pytest.mark.parametrize('layer_type', ['spex_exphormer', 'spex_estimator'])
def test_stock_network_learns_with_our_layers(stock: CfgNode, layer_type: str) -> None:
    stock.gnn.layer_type = layer_type
    torch.manual_seed(0)
    model, data = create_model(), load()
    assert sum(isinstance(part, SparseLayer) for part in model.modules()) == 2
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    losses = []
    for _ in range(12):
        pred, true = model(data.clone())
        loss, _ = compute_loss(pred, true)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert pred.shape == (51, 1) and losses[-1] < losses[0]
    assert all(p.grad is not None for name, p in model.named_parameters() if '.block.' in name)


def test_layers_read_their_keys(stock: CfgNode) -> None:
    stock.gt.dropout, stock.spex.logit_clamp = 0.3, 8.0
    exphormer = next(m for m in create_model().modules() if isinstance(m, SparseLayer)).block
    assert (exphormer.attention.heads, exphormer.dropout.p, exphormer.attention.logit_clamp) == (2, 0.3, 8.0)
    assert isinstance(exphormer.norm_attention, nn.BatchNorm1d)
    stock.gnn.layer_type = 'spex_estimator'
    narrow = next(m for m in create_model().modules() if isinstance(m, SparseLayer)).block
    assert (narrow.attention.heads, narrow.dropout.p, narrow.attention.normalize_values) == (1, 0.0, True)
    assert type(narrow.norm_attention).__name__ == 'GraphNorm'


def test_sampled_layers_use_up_the_tables_of_a_layered_batch(stock: CfgNode) -> None:
    stock.gnn.layer_type, stock.gnn.head = 'spexphormer', 'spex_seed_node'
    data = load()
    del data.split
    plan = SamplingPlan(data.layers[0], [None, None], [3, 2], strategy='uniform')
    torch.manual_seed(0)
    model = create_model().eval()
    whole, _ = model(full_batch(data, plan, key=5))
    assert whole.shape == (64, 1)
    for batch in SparseNeighborLoader(node_data(data), plan, key=5, batch_size=20):
        seeds = batch.n_id[: batch.batch_size]
        pred, true = model(batch)
        torch.testing.assert_close(pred, whole[seeds])
        assert torch.equal(true, data.y[seeds])


def test_layer_that_would_change_its_width_is_refused(stock: CfgNode) -> None:
    stock.gnn.layers_pre_mp = 0
    message = r'keeps its width, got dim_in 7 and dim_out 8 \(set gnn.dim_inner, gnn.layers_pre_mp or'
    with pytest.raises(ValueError, match=message):
        create_model()


def test_batch_without_attention_graph_is_refused(stock: CfgNode) -> None:
    data = load()
    bare = Data(x=data.x, y=data.y, edge_index=data.edge_index)
    with pytest.raises(ValueError, match='needs an attention graph on the batch, got none'):
        create_model()(bare)


def test_layer_names_are_registered() -> None:
    assert {'spex_exphormer', 'spex_estimator', 'spexphormer'} <= layer_dict.keys()
