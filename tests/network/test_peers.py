"""PyG's models as networks for GraphGym compute what PyG's modules compute, on the graph edges alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from plain_networks import CLASSES, SIDE, WIDTH, ZEROS, graph, network
from torch import Tensor, nn
from torch_geometric.graphgym.register import network_dict
from torch_geometric.nn import GCNConv, GPSConv
from torch_geometric.nn.models import GAT, GCN, LINKX, MLP, GraphSAGE, SGFormer
from torch_geometric.utils import add_self_loops
from yacs.config import CfgNode

from graphgps_ext.layer.adjacency import normalized_adjacency
from graphgps_ext.loader import load_graph
from graphgps_ext.network import PlainNetwork
from graphgps_ext.transform.batch import plain_graph

NETWORKS = [
    'pyg_gcn', 'pyg_graphsage', 'pyg_gatv2', 'pyg_residual_gcn', 'pyg_mlp', 'pyg_linkx', 'pyg_gps',
    'pyg_sgformer', 'pyg_polynormer',
]  # fmt: skip
BINARY = ['pyg_sgformer', 'pyg_polynormer']  # PyG's end in a soft-max


@pytest.mark.parametrize('name', NETWORKS)
def test_prediction_and_labels_are_those_of_the_split(small: CfgNode, name: str) -> None:
    data, net = graph(), network(name)
    everything, labels = net(data)
    assert everything.shape == (SIDE**2, CLASSES) and torch.equal(labels, data.y)
    before = dict(data.to_dict())
    data.split = 'val'
    pred, true = net(data)
    torch.testing.assert_close(pred, everything[data.val_mask])
    assert torch.equal(true, data.y[data.val_mask])
    assert all(before[key] is data[key] for key in before)


@pytest.mark.parametrize('name', NETWORKS)
def test_every_parameter_learns(small: CfgNode, name: str) -> None:
    net = network(name)
    phases = (0,) if name != 'pyg_polynormer' else (0, 1)
    small.gt.local_epochs = 1
    if name == 'pyg_polynormer':
        net = network(name)
    for phase in phases:
        if name == 'pyg_polynormer':
            net.start_epoch(phase)
        pred, _ = net(graph())
        (pred * torch.linspace(-1, 1, pred.numel()).view_as(pred)).sum().backward()
    without = [name for name, p in net.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert without == []


class _BareGPS(nn.Module):
    """What the GPS network has to be, of PyG's parts."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__()
        self.lin_in, self.lin_out = nn.Linear(7, WIDTH), nn.Linear(WIDTH, CLASSES)
        layers = [GPSConv(WIDTH, GCNConv(WIDTH, WIDTH), heads=2, dropout=0.3, **kwargs) for _ in range(2)]
        self.layers = nn.ModuleList(layers)

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        x = self.lin_in(x)
        for layer in self.layers:
            x = layer(x, edge_index)
        return self.lin_out(x)


SIZES: dict[str, Any] = dict(in_channels=7, hidden_channels=WIDTH, out_channels=CLASSES, num_layers=2)
PERFORMER = {'attn_type': 'performer', 'attn_kwargs': {'head_channels': WIDTH // 2}}
# The network, keys, PyG's module of the same sizes, and how it is called.
BARE: dict[str, tuple[str, dict[str, Any], Callable[[], nn.Module], Callable[..., Tensor]]] = {
    'GCN': ('pyg_gcn', {}, lambda: GCN(**SIZES, norm='batch_norm'), lambda m, x, e: m(x, e)),
    'GCN without norm': ('pyg_gcn', {'gt.batch_norm': False}, lambda: GCN(**SIZES), lambda m, x, e: m(x, e)),
    'GraphSAGE with layer norm': (
        'pyg_graphsage',
        {'gt.batch_norm': False, 'gt.layer_norm': True},
        lambda: GraphSAGE(**SIZES, norm='layer_norm', norm_kwargs={'mode': 'node'}),
        lambda m, x, e: m(x, e),
    ),
    'GraphSAGE with graph norm': (
        'pyg_graphsage',
        {'gt.batch_norm': False, 'gt.graph_norm': True},
        lambda: GraphSAGE(**SIZES, norm='graph_norm'),
        lambda m, x, e: m(x, e),
    ),
    'GATv2': (
        'pyg_gatv2',
        {},
        lambda: GAT(**SIZES, norm='batch_norm', v2=True, heads=2),
        lambda m, x, e: m(x, e),
    ),
    'GATv2 with skips': (
        'pyg_gatv2',
        {'gnn.stage_type': 'skipsum'},
        lambda: GAT(**SIZES, norm='batch_norm', v2=True, heads=2, residual=True),
        lambda m, x, e: m(x, e),
    ),
    'MLP': ('pyg_mlp', {}, lambda: MLP(**SIZES), lambda m, x, e: m(x)),
    'LINKX': ('pyg_linkx', {}, lambda: LINKX(num_nodes=SIDE**2, **SIZES), lambda m, x, e: m(x, e)),
    'GPS': ('pyg_gps', {'gt.n_heads': 2}, _BareGPS, lambda m, x, e: m(x, e)),
    'GPS with Performer': (
        'pyg_gps',
        {'gt.n_heads': 2, 'gt.attn_type': 'performer'},
        lambda: _BareGPS(**PERFORMER),
        lambda m, x, e: m(x, e),
    ),
    'SGFormer': (
        'pyg_sgformer',
        {'gt.n_heads': 2, 'gt.graph_weight': 0.7},
        lambda: SGFormer(7, WIDTH, CLASSES, 2, 2, gnn_num_layers=2, graph_weight=0.7),
        lambda m, x, e: m(x, e, ZEROS),
    ),
}


@pytest.mark.parametrize('case', BARE)
def test_network_computes_what_the_bare_module_computes(small: CfgNode, case: str) -> None:
    name, keys, build, call = BARE[case]
    for key, value in keys.items():
        small.merge_from_list([key, value])
    net, data = network(name), graph()
    bare = build()
    bare.load_state_dict(net.model.state_dict())
    torch.testing.assert_close(net(data)[0], call(bare.eval(), data.x, data.edge_index))


def test_sgformer_without_norm_is_that_of_pyg_with_norms_that_do_nothing(small: CfgNode) -> None:
    small.gt.batch_norm = False
    net, data = network('pyg_sgformer'), graph()
    bare = SGFormer(7, WIDTH, CLASSES, small.gt.layers, gnn_num_layers=2, graph_weight=small.gt.graph_weight)
    for norm in bare.graph_conv.bns:
        norm.running_var.fill_(1 - norm.eps)  # then that of a new module is x in evaluation
    missing, unexpected = bare.load_state_dict(net.model.state_dict(), strict=False)
    assert not unexpected and all('graph_conv.bns' in name for name in missing)
    torch.testing.assert_close(net(data)[0], bare.eval()(data.x, data.edge_index, ZEROS))


@pytest.mark.parametrize('name', BINARY)
def test_logit_of_two_classes_has_their_probabilities(small: CfgNode, name: str) -> None:
    net, data = network(name, dim_out=1), graph()
    pred, _ = net(data)
    assert pred.shape == (SIDE**2, 1)
    if name == 'pyg_polynormer':
        probability = net.model(data.x, add_self_loops(data.edge_index)[0]).softmax(1)
    else:
        probability = net.model(data.x, normalized_adjacency(data.edge_index, data.x)[0], ZEROS).exp()
    torch.testing.assert_close(pred[:, 0].sigmoid(), probability[:, 1])


def test_residual_gcn_worked_by_hand(small: CfgNode) -> None:
    small.gt.batch_norm = False
    net, data = network('pyg_residual_gcn'), graph()
    source, target = add_self_loops(data.edge_index)[0]
    dense = torch.zeros(SIDE**2, SIDE**2).index_put((target, source), torch.ones(()))
    degree = dense.sum(1)
    dense = dense / (degree[:, None] * degree).sqrt()
    x = data.x
    for layer in net.model.convs:
        conv = dense @ layer.conv.lin(x) + layer.conv.bias
        x = torch.relu(conv + layer.skip(x))
    torch.testing.assert_close(net(data)[0], net.model.lin(x))


def test_mlp_sees_no_edges_and_the_others_do(small: CfgNode) -> None:
    data = graph()
    fewer = data.clone()
    fewer.edge_index = data.edge_index[:, :20]
    same = {name: torch.equal(network(name)(data)[0], network(name)(fewer)[0]) for name in NETWORKS}
    assert [name for name, equal in same.items() if equal] == ['pyg_mlp']


@pytest.mark.parametrize('name', NETWORKS)
def test_order_of_the_edges_does_not_matter(small: CfgNode, name: str) -> None:
    data, net = graph(), network(name)
    shuffled = data.clone()
    shuffled.edge_index = data.edge_index[:, torch.randperm(data.num_edges)]
    torch.testing.assert_close(net(shuffled)[0], net(data)[0])


def test_plain_graph_has_the_graph_edges_in_both_directions_and_nothing_else(
    small: CfgNode, tmp_path: Path
) -> None:
    edges = np.array([[0, 2, 2, 3, 0], [1, 0, 2, 1, 1]])  # with a self-loop and a duplicate
    np.savez(tmp_path / 'toy.npz', edge_index=edges, x=np.eye(5), y=np.arange(5) % 2)
    small.dataset.path = str(tmp_path / 'toy.npz')
    small.prep.exp = small.prep.add_self_loops = True
    small.prep.exp_deg = 1
    data = load_graph('file', 'toy', '')
    assert data is not None
    plain = plain_graph(data)
    # By target, then source.
    assert plain.edge_index.t().tolist() == [[1, 0], [2, 0], [0, 1], [3, 1], [0, 2], [1, 3]]
    assert set(plain.keys()) == {
        'x', 'y', 'train_mask', 'val_mask', 'test_mask', 'edge_index', 'n_id'
    }  # fmt: skip
    small.prep.undirected = False
    directed = load_graph('file', 'toy', '')
    assert directed is not None
    assert plain_graph(directed).edge_index.t().tolist() == [[2, 0], [0, 1], [3, 1]]


def test_multi_head_attention_never_writes_out_all_pairs(
    small: CfgNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: Any) -> None:
        raise AssertionError('the inference kernel was called')

    small.gt.n_heads = 2
    net = network('pyg_gps')
    monkeypatch.setattr(torch, '_native_multi_head_attention', refuse)
    with torch.no_grad():
        net(graph())
    assert torch.backends.mha.get_fastpath_enabled()


@pytest.mark.parametrize('name', NETWORKS)
def test_input_dropout_is_read(small: CfgNode, name: str) -> None:
    small.gnn.dropout = small.gt.dropout = 0.0
    small.gt.batch_norm = False
    net, data = network_dict[name](dim_in=7, dim_out=CLASSES).train(), graph()
    assert torch.equal(net(data)[0], net(data)[0])
    small.gt.input_dropout = 0.5
    net = network_dict[name](dim_in=7, dim_out=CLASSES).train()
    assert not torch.equal(net(data)[0], net(data)[0])


def test_one_node_alone_trains(small: CfgNode) -> None:
    one = graph().subgraph(torch.tensor([5]))
    for name in set(NETWORKS) - {'pyg_linkx'}:  # which has a weight for each node of the whole graph
        pred, _ = network(name).train()(one)
        assert pred.shape == (1, CLASSES) and pred.isfinite().all()


@pytest.mark.parametrize(
    ('name', 'keys', 'message'),
    [
        ('pyg_gatv2', {'gnn.att_heads': 3}, r'gnn.dim_inner .* multiple of gnn.att_heads, got 8 and 3'),
        ('pyg_gps', {'gt.n_heads': 3}, r'gt.dim_hidden .* multiple of gt.n_heads, got 8 and 3'),
        ('pyg_polynormer', {'gt.n_heads': 3}, r'gt.dim_hidden .* multiple of gt.n_heads, got 8 and 3'),
        (
            'pyg_gps',
            {'gt.n_heads': 8, 'gt.attn_type': 'performer'},
            r'performer needs at least 2 channels per head, got gt.dim_hidden 8 and gt.n_heads 8',
        ),
        (
            'pyg_linkx',
            {'share.num_nodes': 0},
            r'needs the number of nodes .* got share.num_nodes 0 \(run/main',
        ),
        *(
            (name, {'dataset.task_type': 'classification_multilabel', 'model.type': name}, f'{name} needs da')
            for name in BINARY
        ),
    ],
)
def test_sizes_that_cannot_be_are_refused(
    small: CfgNode, name: str, keys: dict[str, Any], message: str
) -> None:
    for key, value in keys.items():
        group, _, leaf = key.partition('.')
        small[group][leaf] = value
    with pytest.raises(ValueError, match=message):
        network_dict[name](dim_in=7, dim_out=CLASSES)


def test_all_of_them_are_plain(small: CfgNode) -> None:
    ours = sorted(name for name in network_dict if name.startswith('pyg_'))
    assert ours == sorted(NETWORKS) and all(isinstance(network(name), PlainNetwork) for name in ours)


def test_a_network_left_in_evaluation_mode_does_not_touch_the_next(graphgym_cfg: CfgNode) -> None:
    graphgym_cfg.model.type, graphgym_cfg.gt.attn_type = 'pyg_gps', 'performer'
    graphgym_cfg.gt.dim_hidden, graphgym_cfg.gt.n_heads, graphgym_cfg.gt.layers = 8, 2, 1
    build = network_dict['pyg_gps']
    build(3, 2).eval()
    assert all(module.training for module in build(3, 2).modules())
