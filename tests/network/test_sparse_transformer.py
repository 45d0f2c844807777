"""The network on whole graphs and on layered batches."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch_geometric.data import Data
from torch_geometric.graphgym.register import network_dict
from yacs.config import CfgNode

from graphgps_ext.loader import SparseNeighborLoader, load_graph
from graphgps_ext.loader.neighbor_loader import full_batch, node_data
from graphgps_ext.network import Estimator, SparseTransformer
from graphgps_ext.network.layerwise import LayerwiseDraws
from graphgps_ext.sampling import SamplingPlan

KEY = 99
SIDE = 9
DEGREES = [4, 3]


@pytest.fixture
def small(graphgym_cfg: CfgNode) -> CfgNode:
    """A network of two layers and a grid of 81 nodes."""
    c = graphgym_cfg
    c.dataset.format, c.dataset.name, c.dataset.grid_side = 'grid', 'minesweeper', SIDE
    c.dataset.split_mode, c.dataset.split = 'random', [0.5, 0.25, 0.25]
    c.dataset.node_encoder, c.dataset.node_encoder_name = True, 'spex_linear_node'
    c.dataset.edge_encoder, c.dataset.edge_encoder_name = True, 'spex_expander_edge'
    c.dataset.node_encoder_bn = c.dataset.edge_encoder_bn = False
    c.prep.exp_deg = 2
    c.model.type = 'spexphormer'
    c.gt.layers, c.gt.n_heads, c.gt.dim_hidden, c.gnn.dim_inner = 2, 2, 8, 8
    c.gnn.layers_pre_mp, c.gnn.head = 1, 'spex_seed_node'
    c.gt.attention_impl = 'torch'
    return c


def load(cfg: CfgNode) -> Data:
    data = load_graph(cfg.dataset.format, cfg.dataset.name, '')
    assert data is not None
    cfg.share.dim_in = data.num_features
    return data


def plan_of(data: Data, degrees: list[int] = DEGREES) -> SamplingPlan:
    graph = data.layers[0]
    generator = torch.Generator().manual_seed(0)
    scores = [torch.rand(graph.num_edges, generator=generator) for _ in degrees]
    edge_attr = data.attention_edge_attr[0] if 'attention_edge_attr' in data else None
    return SamplingPlan(graph, scores, degrees, edge_attr=edge_attr)


def network(name: str, dim_in: int, dim_out: int = 3) -> SparseTransformer:
    """A network in evaluation mode whose batch norms have seen something."""
    torch.manual_seed(0)
    net = network_dict[name](dim_in=dim_in, dim_out=dim_out)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm1d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
    return net.eval()


def seeds_of(batch: Data) -> Tensor:
    return batch.n_id[: batch.batch_size]


def test_mini_batches_predict_what_the_full_batch_predicts(small: CfgNode) -> None:
    data = load(small)
    plan, net = plan_of(data), network('spexphormer', 7)
    whole, _ = net(full_batch(data, plan, KEY))
    assert whole.shape == (SIDE**2, 3)
    for batch in SparseNeighborLoader(node_data(data), plan, key=KEY, batch_size=20):
        pred, true = net(batch)
        assert len(batch.n_id) < SIDE**2  # the receptive field is a part of the graph
        torch.testing.assert_close(pred, whole[seeds_of(batch)])
        assert torch.equal(true, data.y[seeds_of(batch)])


LAYERWISE = {
    'plain': {},
    'virtual nodes': {'prep.num_virt_node': 2},
    'all layers to the head': {'gt.jumping_knowledge': 'cat', 'gt.pre_norm': True},
    'a local branch': {'gt.local_gnn_type': 'sage', 'gt.local_edges': 'sampled'},
    'features of edges': {'prep.edge_attr': True},
}


@pytest.mark.parametrize('keys', LAYERWISE.values(), ids=LAYERWISE)
@pytest.mark.parametrize('rows', [1, 20, SIDE**2, None])
def test_layer_by_layer_predicts_what_the_full_batch_predicts(
    small: CfgNode, tmp_path: Path, keys: dict[str, Any], rows: int | None
) -> None:
    for key, value in keys.items():
        group, name = key.split('.')
        small[group][name] = value
    if small.prep.edge_attr:
        rng = np.random.default_rng(0)
        edge_index, x, y = rng.integers(0, 70, (2, 300)), rng.normal(size=(70, 7)), rng.integers(0, 3, 70)
        edge_attr = rng.normal(size=(300, 4)).astype(np.float32)
        np.savez(tmp_path / 'toy.npz', edge_index=edge_index, x=x, y=y, edge_attr=edge_attr)
        small.dataset.format, small.dataset.path = 'file', str(tmp_path / 'toy.npz')
        small.prep.undirected, small.dataset.edge_dim = False, 4
    data = load(small)
    plan, net = plan_of(data), network('spexphormer', 7)
    wanted, true = net(full_batch(data, plan, KEY))
    batch = node_data(data)
    batch.batch_size, batch.draws = data.num_nodes, LayerwiseDraws(plan, KEY, rows=rows)
    pred, labels = net(batch)
    torch.testing.assert_close(pred, wanted, rtol=1e-5, atol=1e-6)
    assert torch.equal(labels, true) and batch.x is data.x
    other = copy.copy(batch)
    other.draws = LayerwiseDraws(plan, KEY + 1, rows=rows)
    assert not torch.allclose(net(other)[0], wanted, atol=1e-3)


def test_batch_of_one_node_trains(small: CfgNode) -> None:
    small.prep.exp = small.prep.add_self_loops = False
    data = load(small)
    # Node 0 has three neighbours on the grid; without any edge its own row is all there is.
    for degrees in ([2, 2], DEGREES):
        plan = plan_of(data, degrees)
        batch = next(iter(SparseNeighborLoader(node_data(data), plan, key=KEY, batch_size=1)))
        pred, _ = network('spexphormer', 7).train()(batch)
        pred.sum().backward()
        assert pred.shape == (1, 3) and pred.isfinite().all()


def test_isolated_node_alone_in_a_batch_trains(small: CfgNode, tmp_path: Path) -> None:
    edge_index = np.array([[0, 1], [1, 2]])
    y = np.arange(8) % 2
    np.savez(tmp_path / 'toy.npz', edge_index=edge_index, x=np.eye(8, 3), y=y)
    small.dataset.format, small.dataset.path = 'file', str(tmp_path / 'toy.npz')
    small.prep.exp = small.prep.add_self_loops = False
    small.gnn.layers_post_mp = 2
    data = load(small)
    loader = SparseNeighborLoader(
        node_data(data), plan_of(data), key=KEY, batch_size=1, input_nodes=torch.tensor([7])
    )
    batch = next(iter(loader))
    assert len(batch.n_id) == 1
    pred, _ = network('spexphormer', 3).train()(batch)
    pred.sum().backward()
    assert pred.isfinite().all()


def test_network_leaves_the_batch_as_it_was(small: CfgNode) -> None:
    data = load(small)
    batch = full_batch(data, plan_of(data), KEY)
    before = dict(batch.to_dict())
    net = network('spexphormer', 7)
    first, _ = net(batch)
    after = batch.to_dict()
    assert before.keys() == after.keys() and all(before[key] is after[key] for key in before)
    assert torch.equal(net(batch)[0], first)


def test_whole_graph_goes_through_every_layer(small: CfgNode) -> None:
    small.gnn.head = 'node'
    data = load(small)
    net = network('spex_exphormer', 7)
    pred, true = net(data)
    assert pred.shape == (SIDE**2, 3) and torch.equal(true, data.y)
    expected = net.pre_mp(net.encoder(copy.copy(data)))
    for layer in net.layers:
        expected.x, _ = layer(expected.x, data.layers[0], expected.type_embedding)
    torch.testing.assert_close(pred, net.post_mp(expected)[0])


def test_head_keeps_the_seeds_of_the_split(small: CfgNode) -> None:
    data = load(small)
    batch = full_batch(data, plan_of(data), KEY)
    net = network('spexphormer', 7)
    everything, _ = net(batch)
    batch.split = 'val'
    pred, true = net(batch)
    torch.testing.assert_close(pred, everything[data.val_mask])
    assert torch.equal(true, data.y[data.val_mask])


def test_every_parameter_learns(small: CfgNode) -> None:
    small.prep.num_virt_node = 1
    data = load(small)
    net = network('spexphormer', 7).train()
    pred, _ = net(full_batch(data, plan_of(data, [40, 40]), KEY))
    torch.manual_seed(0)
    (pred * torch.randn_like(pred)).sum().backward()
    without = [name for name, p in net.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert not without


def test_virtual_nodes_have_vectors_of_their_own(small: CfgNode) -> None:
    small.prep.num_virt_node = 2
    data = load(small)
    net = network('spexphormer', 7)
    plan = plan_of(data, [30, 30])
    whole, _ = net(full_batch(data, plan, KEY))
    assert whole.shape == (SIDE**2 + 2, 3)
    for batch in SparseNeighborLoader(node_data(data), plan, key=KEY, batch_size=30):
        torch.testing.assert_close(net(batch)[0], whole[seeds_of(batch)])
    encoded = net.encoder(copy.copy(data)).x
    encoder = net.encoder.node_encoder
    torch.testing.assert_close(encoded[:-2], encoder.linear(data.x[:-2]))
    torch.testing.assert_close(encoded[-2:], encoder.virtual.weight[1:] + encoder.linear.bias)
    assert net.encoder.edge_encoder.types.weight.shape == (5, 8)


@pytest.fixture
def with_edge_features(small: CfgNode, tmp_path: Path) -> CfgNode:
    """A graph of twelve nodes with two edge features, from a file."""
    rng = np.random.default_rng(0)
    np.savez(
        tmp_path / 'toy.npz',
        edge_index=rng.integers(0, 12, (2, 20)),
        x=rng.normal(size=(12, 3)),
        y=np.arange(12) % 3,
        edge_attr=rng.normal(size=(20, 2)),
    )
    small.dataset.format, small.dataset.path = 'file', str(tmp_path / 'toy.npz')
    small.prep.edge_attr = True
    small.dataset.edge_dim = 2
    return small


def test_edge_features_reach_the_logits_of_both_forms(with_edge_features: CfgNode) -> None:
    data = load(with_edge_features)
    net = network('spexphormer', 3)
    # Degrees that no node exceeds: the tables hold the whole graph.
    batch = full_batch(data, plan_of(data, [40, 40]), KEY)
    on_tables, _ = net(batch)
    on_graph, _ = net(Data(**{**data.to_dict(), 'batch_size': data.num_nodes}))
    torch.testing.assert_close(on_tables, on_graph)
    with torch.no_grad():
        net.encoder.edge_encoder.features.weight.zero_()
    without, _ = net(batch)
    assert not torch.allclose(without, on_tables)


@pytest.mark.filterwarnings('ignore:.*fork.*:DeprecationWarning')
@pytest.mark.parametrize('num_workers', [0, 1])
def test_mini_batches_have_the_edge_features_of_their_own_edges(
    with_edge_features: CfgNode, num_workers: int
) -> None:
    data = load(with_edge_features)
    plan, net = plan_of(data), network('spexphormer', 3)
    whole, _ = net(full_batch(data, plan, KEY))
    loader = SparseNeighborLoader(node_data(data), plan, key=KEY, batch_size=5, num_workers=num_workers)
    for batch in loader:
        batch = batch.to('cpu')  # as a trainer does
        torch.testing.assert_close(net(batch)[0], whole[seeds_of(batch)])


def test_edge_features_in_empty_slots_are_not_read(with_edge_features: CfgNode) -> None:
    data = load(with_edge_features)
    net, batch = network('spexphormer', 3), full_batch(data, plan_of(data, [9, 9]), KEY)
    clean, _ = net(batch)
    empty = [table.source < 0 for table in batch.layers]
    assert all(slots.any() for slots in empty)
    for attr, slots in zip(batch.attention_edge_attr, empty, strict=True):
        attr[slots] = float('nan')
    assert torch.equal(net(batch)[0], clean)


def test_batch_of_another_number_of_layers_is_refused(small: CfgNode) -> None:
    data = load(small)
    batch = full_batch(data, plan_of(data, [4, 3, 2]), KEY)
    with pytest.raises(
        ValueError, match=r'network of 2 layers needs a batch of as many .* got 3 \(set gt.la'
    ):
        network('spexphormer', 7)(batch)


def test_width_that_heads_do_not_divide_is_refused(small: CfgNode) -> None:
    small.gt.n_heads = 3
    with pytest.raises(ValueError, match=r'multiple of heads, got 8 and 3 \(set gt.dim_hidden or gt.n_heads'):
        network('spexphormer', 7)


@pytest.mark.parametrize(
    ('key', 'kind'),
    [('batch_norm', 'BatchNorm'), ('graph_norm', 'OneGraphNorm'), ('layer_norm', 'LayerNorm')],
)
def test_keys_choose_the_norm_dropout_and_residual(small: CfgNode, key: str, kind: str) -> None:
    small.gt.batch_norm = False
    small.gt[key] = True
    small.gt.dropout, small.gt.residual, small.spex.logit_clamp = 0.3, False, 8.0
    net = network('spexphormer', 7)
    assert len(net.layers) == 2
    for layer in net.layers:
        assert type(layer.norm_attention).__name__ == type(layer.norm_feed_forward).__name__ == kind
        assert layer.dropout.p == 0.3 and not layer.residual
        assert layer.attention.logit_clamp == 8.0 and layer.attention.implementation == 'torch'
        assert layer.attention.heads == 2 and not layer.attention.normalize_values


def test_pre_layers_may_be_left_out(small: CfgNode) -> None:
    small.gnn.layers_pre_mp = 0
    data = load(small)
    net = network('spexphormer', 7)
    assert net.pre_mp is None
    assert net(full_batch(data, plan_of(data), KEY))[0].shape == (SIDE**2, 3)


def test_registered_networks_are_one_architecture(small: CfgNode) -> None:
    kinds = {name: type(network(name, 7)) for name in ('spexphormer', 'spex_exphormer', 'spex_estimator')}
    assert kinds['spexphormer'] is kinds['spex_exphormer'] is SparseTransformer
    assert kinds['spex_estimator'] is Estimator
