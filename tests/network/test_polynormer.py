"""Polynormer computes what PyG's does where both are the same, and what is published where they are not."""

from __future__ import annotations

import copy

import pytest
import torch
from plain_networks import CLASSES, SIDE, WIDTH, ZEROS, graph, network
from torch import nn
from torch_geometric.graphgym.register import network_dict
from torch_geometric.nn.models import Polynormer
from torch_geometric.utils import add_self_loops
from yacs.config import CfgNode


@pytest.mark.parametrize(
    ('heads', 'joined', 'batch_norm'), [(1, False, True), (1, True, True), (1, True, False), (2, False, True)]
)
def test_polynormer_is_that_of_pyg_behind_a_linear_map(
    small: CfgNode, heads: int, joined: bool, batch_norm: bool
) -> None:
    small.gt.n_heads, small.gt.beta, small.gt.batch_norm = heads, 0.3, batch_norm
    net, data = network('pyg_polynormer'), graph()
    bare = Polynormer(
        WIDTH, WIDTH // heads, CLASSES,
        local_layers=2, heads=heads, qk_shared=True, local_attn=True, post_bn=batch_norm, beta=0.3,
    )  # fmt: skip
    for attention in net.model.global_attn:  # what PyG's has not, and starts with here
        nn.init.zeros_(attention.k.bias)
        nn.init.zeros_(attention.v.bias)
    state = {k: v for k, v in net.model.state_dict().items() if 'lin_in' not in k and k != 'betas'}
    if heads > 1:  # PyG's global attention has the width of one
        state = {k: v for k, v in state.items() if 'global_attn' not in k}
    missing, _ = bare.load_state_dict(state, strict=False)
    assert all('lin_in' in name or (heads > 1 and 'global_attn' in name) for name in missing)
    net.model._global = bare._global = joined
    with_loops, _ = add_self_loops(data.edge_index)
    expected = bare.eval()(net.model.lin_in(data.x), with_loops, ZEROS)
    torch.testing.assert_close(net(data)[0].log_softmax(1), expected)


@pytest.mark.parametrize('beta', [-1.0, 0.3])
def test_polynormer_worked_by_hand(small: CfgNode, beta: float) -> None:
    small.gt.n_heads, small.gt.beta, small.gt.batch_norm = 2, beta, False
    net, data = network('pyg_polynormer'), graph()
    m, share = net.model, torch.rand(4, WIDTH)
    m.betas.data = share.logit() if beta < 0 else share
    loops, _ = add_self_loops(data.edge_index)
    x, summed = m.lin_in(data.x), torch.zeros(SIDE**2, WIDTH)
    for layer in range(2):
        plain = torch.relu(m.local_convs[layer](x, loops) + m.lins[layer](x))
        product = m.lns[layer](torch.relu(m.h_lins[layer](x)) * plain)
        x = (1 - share[layer]) * product + share[layer] * plain
        summed = summed + x
    x = m.ln(summed)
    for attention, added in zip(m.global_attn, share[2:], strict=True):
        key, value = attention.k(x).sigmoid(), attention.v(x)
        head = torch.arange(WIDTH) % 2  # the channels of a head alternate with those of the other
        mixed = torch.empty_like(x)
        for h in range(2):
            weight = key[:, head == h] @ key[:, head == h].T
            mixed[:, head == h] = (weight / weight.sum(1, keepdim=True)) @ value[:, head == h]
        product = attention.lns(mixed) * (attention.h_lins(x) + added)
        x = torch.relu(m.global_attn[0].lin_out(product))
    torch.testing.assert_close(net(data)[0], m.pred_global(x), rtol=1e-4, atol=1e-5)


def test_several_heads_work_here_and_fail_in_pyg(small: CfgNode) -> None:
    bare, data = Polynormer(7, 4, CLASSES, heads=2), graph()
    bare._global = True
    with pytest.raises(RuntimeError, match='mat1 and mat2 shapes cannot be multiplied'):
        bare(data.x, data.edge_index, ZEROS)
    small.gt.n_heads = 2
    net = network('pyg_polynormer')
    assert net.model._global and net(data)[0].isfinite().all()


def test_a_network_that_has_computed_can_be_copied(small: CfgNode) -> None:
    net, data = network('pyg_polynormer'), graph()
    expected = net(data)[0]
    torch.testing.assert_close(copy.deepcopy(net)(data)[0], expected)


@pytest.mark.parametrize('beta', [-1.0, 0.3])
def test_beta_of_polynormer_starts_where_it_is_said(small: CfgNode, beta: float) -> None:
    small.gt.beta = beta
    model = network_dict['pyg_polynormer'](dim_in=7, dim_out=CLASSES).model
    assert model.betas.shape == (4, WIDTH)
    if beta < 0:
        assert model.betas.std() > 0.05 and model.betas.abs().max() < 2
    else:
        assert (model.betas == 0.3).all()


def test_polynormer_starts_local_and_its_phase_belongs_to_the_checkpoint(small: CfgNode) -> None:
    small.gt.local_epochs = 2
    net, data = network_dict['pyg_polynormer'](dim_in=7, dim_out=CLASSES), graph()
    phases = []
    for epoch in range(4):
        net.start_epoch(epoch)
        phases.append(net.model._global)
    assert phases == [False, False, True, True]
    other = network('pyg_polynormer')
    other.start_epoch(0)
    other.load_state_dict(net.state_dict())
    torch.testing.assert_close(other.eval()(data)[0], net.eval()(data)[0])
    assert other.model._global
