"""Options of the network: what they add, on whole graphs, full batches and mini-batches alike."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from test_sparse_transformer import KEY, SIDE, load, network, plan_of, seeds_of, small  # noqa: F401
from torch_geometric.data import Data
from torch_geometric.nn import JumpingKnowledge
from yacs.config import CfgNode

from graphgps_ext.config.tree import put
from graphgps_ext.loader import SparseNeighborLoader
from graphgps_ext.loader.neighbor_loader import full_batch, node_data

OPTIONS: dict[str, dict[str, Any]] = {
    'linear skip': {'gt.linear_skip': True},
    'linear skip alone': {'gt.linear_skip': True, 'gt.residual': False, 'gt.feed_forward': False},
    'norm before': {'gt.pre_norm': True},
    'norm before, no feed-forward': {'gt.pre_norm': True, 'gt.feed_forward': False},
    'layers concatenated': {'gt.jumping_knowledge': 'cat'},
    'maximum over layers': {'gt.jumping_knowledge': 'max'},
    'LSTM over layers': {'gt.jumping_knowledge': 'lstm'},
    'norm before, layers concatenated': {'gt.pre_norm': True, 'gt.jumping_knowledge': 'cat'},
    'sampled sage': {'gt.local_gnn_type': 'sage', 'gt.local_edges': 'sampled'},
    'sampled gat': {'gt.local_gnn_type': 'gat', 'gt.local_edges': 'sampled'},
    'sampled gatedgcn': {'gt.local_gnn_type': 'gatedgcn', 'gt.local_edges': 'sampled'},
    'encodings': {'posenc_LapPE.enable': True, 'posenc_RWSE.enable': True, 'posenc_RWSE.walk_length': 3},
    'standardised features': {'dataset.normalize_features': 'standardize'},
}
WHOLE_GRAPH_ONLY = {
    'gcn': {'gt.local_gnn_type': 'gcn'},
    'sage': {'gt.local_gnn_type': 'sage'},
}


def choose(cfg: CfgNode, changes: dict[str, Any]) -> CfgNode:
    for key, value in changes.items():
        put(cfg, key, value)
    return cfg


@pytest.mark.parametrize('name', OPTIONS)
def test_mini_batches_predict_what_the_full_batch_predicts(small: CfgNode, name: str) -> None:  # noqa: F811
    data = load(choose(small, OPTIONS[name]))
    plan, net = plan_of(data), network('spexphormer', data.num_features)
    whole, _ = net(full_batch(data, plan, KEY))
    assert whole.shape == (SIDE**2, 3)
    for batch in SparseNeighborLoader(node_data(data), plan, key=KEY, batch_size=20):
        assert len(batch.n_id) < SIDE**2  # the receptive field is a part of the graph
        torch.testing.assert_close(net(batch)[0], whole[seeds_of(batch)])


@pytest.mark.parametrize('name', [*OPTIONS, *WHOLE_GRAPH_ONLY])
def test_every_parameter_learns(small: CfgNode, name: str) -> None:  # noqa: F811
    data = load(choose(small, (OPTIONS | WHOLE_GRAPH_ONLY)[name]))
    net = network('spexphormer', data.num_features).train()
    pred, _ = net(full_batch(node_data(data), plan_of(data, [40, 40]), KEY))
    torch.manual_seed(0)
    (pred * torch.randn_like(pred)).sum().backward()
    without = [name for name, p in net.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert not without


@pytest.mark.parametrize('name', [*OPTIONS, *WHOLE_GRAPH_ONLY])
def test_tables_of_the_whole_graph_give_what_the_whole_graph_gives(
    small: CfgNode,  # noqa: F811
    name: str,
) -> None:
    data = load(choose(small, (OPTIONS | WHOLE_GRAPH_ONLY)[name]))
    net = network('spexphormer', data.num_features)
    on_tables, _ = net(full_batch(node_data(data), plan_of(data, [40, 40]), KEY))
    on_graph, _ = net(Data(**{**data.to_dict(), 'batch_size': data.num_nodes}))
    torch.testing.assert_close(on_tables, on_graph)


def test_without_options_there_are_the_parameters_that_there_were(small: CfgNode) -> None:  # noqa: F811
    load(small)
    block = [
        'attention.lin_query.weight', 'attention.lin_key.weight', 'attention.lin_value.weight',
        'attention.lin_type_scale.weight', 'attention.lin_type_bias.weight',
        'norm_attention.weight', 'norm_attention.bias',
        'feed_forward.0.weight', 'feed_forward.0.bias', 'feed_forward.3.weight', 'feed_forward.3.bias',
        'norm_feed_forward.weight', 'norm_feed_forward.bias',
    ]  # fmt: skip
    names = [name for name, _ in network('spexphormer', 7).named_parameters()]
    in_layers = [f'layers.{layer}.{name}' for layer in (0, 1) for name in block]
    assert [name for name in names if not name.startswith(('encoder', 'pre_mp', 'post_mp'))] == in_layers


@pytest.mark.parametrize('mode', ['cat', 'max', 'lstm'])
def test_head_sees_every_layer_through_jumping_knowledge(small: CfgNode, mode: str) -> None:  # noqa: F811
    data = load(choose(small, {'gt.jumping_knowledge': mode}))
    net = network('spexphormer', 7)
    assert isinstance(net.jumping_knowledge, JumpingKnowledge)
    batch = next(iter(SparseNeighborLoader(node_data(data), plan_of(data), key=KEY, batch_size=10)))
    encoded = net.pre_mp(net.encoder(copy.copy(batch)))
    first, _ = net.layers[0](encoded.x, batch.layers[0], encoded.type_embedding)
    second, _ = net.layers[1](first, batch.layers[1], encoded.type_embedding)
    assert len(first) > len(second) == 10
    joined = {
        'cat': lambda: torch.cat([first[:10], second], dim=1),
        'max': lambda: torch.maximum(first[:10], second),
        'lstm': lambda: net.jumping_knowledge([first[:10], second]),
    }[mode]()
    encoded.x = joined
    torch.testing.assert_close(net(batch)[0], net.post_mp(encoded)[0])


def test_norm_before_is_followed_by_one_norm_at_the_end(small: CfgNode) -> None:  # noqa: F811
    data = load(choose(small, {'gt.pre_norm': True}))
    net = network('spex_exphormer', 7)
    seen = []
    net.norm_out.register_forward_hook(lambda module, inputs, output: seen.append((*inputs, output)))
    net.post_mp.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].x))
    net(Data(**{**data.to_dict(), 'batch_size': data.num_nodes}))
    (before, after), read_by_head = seen
    norm = net.norm_out
    expected = (before - norm.running_mean) / (norm.running_var + 1e-5).sqrt()
    torch.testing.assert_close(after, expected)
    assert read_by_head is after


def test_features_of_the_loader_are_normalised_then_encodings_are_appended(small: CfgNode) -> None:  # noqa: F811
    plain = load(small)
    changes = {'dataset.normalize_features': 'row', 'posenc_LapPE.enable': True}
    changes |= {'posenc_LapPE.eigen.max_freqs': 5, 'prep.num_virt_node': 1}
    data = load(choose(small, changes))
    assert data.x.shape == (SIDE**2 + 1, 7 + 5)
    torch.testing.assert_close(data.x[:-1, :7], plain.x / plain.x.sum(1, keepdim=True))
    encodings = data.x[:-1, 7:]
    torch.testing.assert_close(encodings.mean(0), torch.zeros(5), atol=1e-5, rtol=0)
    torch.testing.assert_close(encodings.std(0, correction=0), torch.ones(5))
    assert not data.x[-1].any()  # the virtual node has no features


def test_local_edges_are_the_undirected_edges_of_the_graph(small: CfgNode) -> None:  # noqa: F811
    data = load(choose(small, {'gt.local_gnn_type': 'gcn', 'prep.num_virt_node': 1}))
    found = {tuple(edge) for edge in data.local_edge_index.T.tolist()}
    assert len(found) == data.local_edge_index.shape[1]
    assert found == {tuple(edge) for edge in data.edge_index.T.tolist()}
    small.gt.local_edges = 'sampled'
    assert 'local_edge_index' not in load(small)
