"""The estimator: its temperature travels with the checkpoint, its weights are a distribution per node."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch_geometric.data import Data
from torch_geometric.graphgym.register import head_dict, network_dict
from yacs.config import CfgNode

from graphgps_ext.loader import load_graph
from graphgps_ext.network import Estimator


@pytest.fixture
def narrow(graphgym_cfg: CfgNode) -> CfgNode:
    """An estimator of three layers on a grid of 64 nodes."""
    c = graphgym_cfg
    c.dataset.format, c.dataset.name, c.dataset.grid_side = 'grid', 'minesweeper', 8
    c.dataset.split_mode = 'random'
    c.dataset.node_encoder, c.dataset.node_encoder_name = True, 'spex_linear_node'
    c.dataset.edge_encoder, c.dataset.edge_encoder_name = True, 'spex_expander_edge'
    c.dataset.node_encoder_bn = c.dataset.edge_encoder_bn = False
    c.prep.exp_deg = 2
    c.model.type = 'spex_estimator'
    c.gt.layers, c.gt.n_heads, c.gt.dim_hidden, c.gnn.dim_inner = 3, 1, 4, 4
    c.gt.batch_norm, c.gt.graph_norm = False, True
    c.gnn.layers_pre_mp, c.gnn.head = 1, 'node'
    c.gt.attention_impl = 'torch'
    c.share.dim_in = 7
    return c


@pytest.fixture
def data(narrow: CfgNode) -> Data:
    data = load_graph('grid', 'minesweeper', '')
    assert data is not None
    return data


def estimator(temperature: float = 1.0) -> Estimator:
    torch.manual_seed(0)
    net = network_dict['spex_estimator'](dim_in=7, dim_out=1)
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter)  # weights that are far from uniform
    net.temperature = temperature
    return net.eval()


def row_sums(weights: Tensor, data: Data) -> Tensor:
    graph = data.layers[0]
    return torch.zeros(graph.num_nodes).index_add_(0, graph.target().long(), weights)


@pytest.mark.parametrize('temperature', [1.0, 0.05])
def test_attention_scores_sum_to_one_over_the_in_edges_of_each_node(data: Data, temperature: float) -> None:
    with torch.no_grad():
        layers = list(estimator(temperature).attention_scores(data))
    assert len(layers) == 3
    for weights in layers:
        assert weights.shape == (data.layers[0].num_edges,) and weights.dtype == torch.float32
        assert (weights >= 0).all()
        torch.testing.assert_close(row_sums(weights, data), torch.ones(64))


def test_attention_scores_are_taken_at_the_temperature_that_is_set(data: Data) -> None:
    net = estimator(0.2)
    with torch.no_grad():
        first = next(net.attention_scores(data))
        # By hand, for the first layer, whose input does not depend on the temperature.
        batch = net.pre_mp(net.encoder(copy.copy(data)))
        attention = net.layers[0].attention
        source, target = data.layers[0].edge_index()
        kind = data.layers[0].edge_type.long()
        query, key = attention.lin_query(batch.x)[target], attention.lin_key(batch.x)[source]
        scale = attention.lin_type_scale(batch.type_embedding)[kind]
        logits = (query * key * scale).sum(1) / 2 + attention.lin_type_bias(batch.type_embedding)[kind, 0]
    for node in range(64):
        mine = target == node
        torch.testing.assert_close(first[mine], (logits[mine] / 0.2).softmax(0))
    with torch.no_grad():
        warmer = next(estimator(1.0).attention_scores(data))
    entropies = [-(w * w.clamp(min=1e-30).log()).sum() for w in (first, warmer)]
    assert entropies[0] < entropies[1]


def test_prediction_depends_on_the_temperature(data: Data) -> None:
    net = estimator(1.0)
    warm, _ = net(data)
    net.temperature = 0.1
    assert not torch.allclose(net(data)[0], warm)


def test_temperature_is_a_part_of_the_checkpoint(narrow: CfgNode, tmp_path: Path) -> None:
    torch.save(estimator(0.37).state_dict(), tmp_path / 'best.ckpt')
    other = estimator(1.0)
    other.load_state_dict(torch.load(tmp_path / 'best.ckpt', weights_only=False))
    assert other.temperature == 0.37


def test_values_are_normalised_unless_the_key_says_otherwise(narrow: CfgNode) -> None:
    assert all(layer.attention.normalize_values for layer in estimator().layers)
    narrow.spex.normalize_values = False
    assert not any(layer.attention.normalize_values for layer in estimator().layers)


def test_scores_of_several_heads_are_refused() -> None:
    head = head_dict['spex_attention_scores']()
    assert head(torch.tensor([[0.25], [0.75]])).tolist() == [0.25, 0.75]
    with pytest.raises(ValueError, match=r'shape \[E, 1\], one head, got \(6, 2\) \(set gt.n_heads 1\)'):
        head(torch.rand(6, 2))
