"""Our blocks as layers of GraphGym's stock network `gnn`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch_geometric.data import Data
from torch_geometric.graphgym.loss import compute_loss
from torch_geometric.graphgym.model_builder import create_model
from torch_geometric.loader import DataLoader
from yacs.config import CfgNode

from graphgps_ext.config.tree import put
from graphgps_ext.errors import ConfigError
from graphgps_ext.layer.block import SparseTransformerBlock
from graphgps_ext.layer.graphgym import SparseLayer
from graphgps_ext.loader import SparseNeighborLoader, load_dataset, load_graph
from graphgps_ext.loader.neighbor_loader import full_batch, node_data
from graphgps_ext.network import SparseTransformer
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
    c.gt.layers, c.gt.dim_hidden, c.gt.n_heads = 2, 8, 2
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


def described(block: SparseTransformerBlock) -> tuple[str, dict[str, object]]:
    """What a block is made of, and the plain attributes of its parts."""
    attributes = {
        f'{name}.{key}': value
        for name, part in block.named_modules()
        for key, value in vars(part).items()
        if not key.startswith('_') and isinstance(value, int | float | str | None)
    }
    return str(block), attributes


def first_layers(cfg: CfgNode, kind: str) -> tuple[SparseTransformer, SparseLayer]:
    """The network of a kind, and the first layer of that kind within GraphGym's network."""
    cfg.model.type, cfg.gnn.layer_type = kind, kind
    network = create_model().model
    cfg.model.type = 'gnn'
    return network, next(part for part in create_model().modules() if isinstance(part, SparseLayer))


@pytest.mark.parametrize(
    'changes',
    [
        {'gt.n_heads': 4},
        {'gt.dropout': 0.3},
        {'gt.residual': False},
        {'gt.batch_norm': False},
        {'gt.batch_norm': False, 'gt.graph_norm': True},
        {'gt.batch_norm': False, 'gt.layer_norm': True},
        {'gt.pre_norm': True},
        {'gt.linear_skip': True},
        {'gt.feed_forward': False},
        {'gt.local_gnn_type': 'gcn'},
        {'gt.local_gnn_type': 'sage'},
        {'gt.local_gnn_type': 'gat', 'gt.local_edges': 'sampled'},
        {'gt.local_gnn_type': 'gatedgcn'},
        {'gt.attention_impl': 'torch'},
        {'spex.logit_clamp': 8.0},
        {'spex.normalize_values': False},
    ],
    ids=lambda changes: ' '.join(f'{key} {value}' for key, value in changes.items()),
)
@pytest.mark.parametrize('kind', ['spex_exphormer', 'spex_estimator'])
def test_each_key_turns_layers_as_it_turns_networks(
    stock: CfgNode, kind: str, changes: dict[str, object]
) -> None:
    before = described(first_layers(stock, kind)[1].block)
    for key, value in changes.items():
        put(stock, key, value)
    network, layer = first_layers(stock, kind)
    after = described(layer.block)
    assert after == described(network.layers[0])
    assert (after == before) == (changes.keys() == {'spex.normalize_values'} and kind == 'spex_exphormer')

    layer.block.load_state_dict(network.layers[0].state_dict())
    batch = network._encode(load())
    torch.manual_seed(1)
    expected, _ = next(network._run_layers(batch))
    torch.manual_seed(1)
    assert torch.equal(layer(batch).x, expected)


def test_jumping_knowledge_is_refused_by_layers(stock: CfgNode) -> None:
    stock.gt.jumping_knowledge = 'cat'
    with pytest.raises(ConfigError, match=r'gt.jumping_knowledge needs to be none for layers .* got cat'):
        create_model()


def test_sampled_layers_see_local_edges_and_edge_features(stock: CfgNode, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    edges = {'edge_index': rng.integers(0, 12, (2, 20)), 'edge_attr': rng.normal(size=(20, 2))}
    np.savez(tmp_path / 'toy.npz', x=rng.normal(size=(12, 7)), y=np.arange(12) % 2, **edges)
    stock.dataset.path = str(tmp_path / 'toy.npz')
    stock.prep.edge_attr, stock.dataset.edge_dim = True, 2
    stock.gt.local_gnn_type, stock.gt.local_edges = 'sage', 'sampled'
    data = load_graph('file', '', '')
    assert data is not None
    torch.manual_seed(0)
    on_graph = create_model().eval()
    stock.gnn.layer_type, stock.gnn.head = 'spexphormer', 'spex_seed_node'
    on_tables = create_model().eval()
    on_tables.load_state_dict(on_graph.state_dict())
    # Degrees that no node exceeds: the tables hold the whole graph.
    plan = SamplingPlan(
        data.layers[0],
        [None, None],
        [40, 40],
        strategy='uniform',
        edge_attr=data.attention_edge_attr[0],
    )
    data.split = 'train'
    expected = on_graph(data.clone())[0]
    batch = full_batch(node_data(data), plan, key=5)
    batch.split = 'train'
    torch.testing.assert_close(on_tables(batch)[0], expected)
    with torch.no_grad():
        on_graph.model.encoder.edge_encoder.features.weight.zero_()
    assert not torch.allclose(on_graph(data.clone())[0], expected)


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


def test_collated_by_the_stock_loader_the_graph_gives_the_same_prediction(stock: CfgNode) -> None:
    dataset = load_dataset('grid', 'minesweeper', '')
    assert dataset is not None
    torch.manual_seed(0)
    model, (batch,) = create_model().eval(), DataLoader(dataset)
    assert isinstance(batch.layers, list)  # what PyG makes of an attribute that it does not know
    batch.split = 'train'
    expected, _ = model(load())
    assert torch.equal(model(batch)[0], expected)


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
