"""The block's options against their formulas written out; without them the block is what it was."""

from __future__ import annotations

import pytest
import torch
from blocks import WIDTH, block_of
from dense_attention import NUM_NODES, csr, dense_attention, table
from torch import Tensor, nn

from graphgps_ext.graph import NeighborTable
from graphgps_ext.layer.attention import SparseAttention
from graphgps_ext.layer.block import SparseTransformerBlock
from graphgps_ext.layer.norm import build_norm


def linear(layer: nn.Linear, h: Tensor) -> Tensor:
    return h @ layer.weight.T + layer.bias


def normalized(h: Tensor) -> Tensor:
    """What a fresh batch norm computes."""
    return (h - h.mean(0)) / (h.var(0, correction=0) + 1e-5).sqrt()


def fed_forward(block: SparseTransformerBlock, h: Tensor) -> Tensor:
    return linear(block.feed_forward[3], linear(block.feed_forward[0], h).relu())


def test_without_options_the_parameters_and_results_are_those_of_the_plain_block(
    x: Tensor, types: Tensor
) -> None:
    block = block_of(dropout=0.4)
    torch.manual_seed(0)  # its parts made one after the other, as they always were
    attention = SparseAttention(WIDTH, 2, implementation='torch')
    norms = [build_norm('batch', WIDTH)]
    feed_forward = nn.Sequential(
        nn.Linear(WIDTH, 2 * WIDTH),
        nn.ReLU(),
        nn.Dropout(0.4),
        nn.Linear(2 * WIDTH, WIDTH),
        nn.Dropout(0.4),
    )
    norms.append(build_norm('batch', WIDTH))
    parts = {
        'attention': attention,
        'norm_attention': norms[0],
        'feed_forward': feed_forward,
        'norm_feed_forward': norms[1],
    }
    plain = nn.ModuleDict(parts).double()
    assert list(block.state_dict()) == list(plain.state_dict())
    assert all(torch.equal(block.state_dict()[key], value) for key, value in plain.state_dict().items())
    torch.manual_seed(5)
    out, _ = block(x.requires_grad_(), csr(), types)
    torch.manual_seed(5)
    attended, _ = attention(x, csr(), types)
    h = norms[0](nn.functional.dropout(attended, 0.4) + x[:NUM_NODES])
    expected = norms[1](feed_forward(h) + h)
    assert torch.equal(out, expected)
    # To the last bit also the gradients, which depend on the order in which they add up.
    towards = torch.randn_like(out)
    gradients = torch.autograd.grad(out, [x, *block.parameters()], towards)
    for gradient, wanted in zip(
        gradients, torch.autograd.grad(expected, [x, *plain.parameters()], towards), strict=True
    ):
        assert torch.equal(gradient, wanted)


@pytest.mark.parametrize('residual', [True, False])
def test_linear_skip_is_added_to_the_attention(residual: bool, x: Tensor, types: Tensor) -> None:
    block = block_of(linear_skip=True, residual=residual)
    attended, _ = dense_attention(block.attention, x, types)
    h = normalized(attended + linear(block.linear_skip, x) + residual * x)
    expected = normalized(fed_forward(block, h) + residual * h)
    torch.testing.assert_close(block(x, csr(), types)[0], expected)


@pytest.mark.parametrize('residual', [True, False])
@pytest.mark.parametrize('linear_skip', [True, False])
def test_norm_before_leaves_the_residual_as_it_is(
    residual: bool, linear_skip: bool, x: Tensor, types: Tensor
) -> None:
    block = block_of(pre_norm=True, residual=residual, linear_skip=linear_skip)
    z = normalized(x)
    attended, _ = dense_attention(block.attention, z, types)
    h = attended + (linear(block.linear_skip, z) if linear_skip else 0) + residual * x
    expected = fed_forward(block, normalized(h)) + residual * h
    torch.testing.assert_close(block(x, csr(), types)[0], expected)


@pytest.mark.parametrize('residual', [True, False])
@pytest.mark.parametrize('pre_norm', [True, False])
def test_relu_stands_in_place_of_the_feed_forward_block(
    residual: bool, pre_norm: bool, x: Tensor, types: Tensor
) -> None:
    block = block_of(feed_forward=False, linear_skip=True, residual=residual, pre_norm=pre_norm)
    z = normalized(x) if pre_norm else x
    attended, _ = dense_attention(block.attention, z, types)
    h = attended + linear(block.linear_skip, z)
    expected = h.relu() + residual * x if pre_norm else normalized(h + residual * x).relu()
    torch.testing.assert_close(block(x, csr(), types)[0], expected)
    assert not any('feed_forward' in name for name in block.state_dict())


def test_without_a_feed_forward_block_dropout_acts_once_after_the_relu(x: Tensor, types: Tensor) -> None:
    block, plain = (block_of(feed_forward=False, dropout=p, norm=None) for p in (0.5, 0.0))
    torch.manual_seed(3)
    out, _ = block(x, csr(), types)
    torch.manual_seed(3)
    assert torch.equal(out, nn.functional.dropout(plain(x, csr(), types)[0], 0.5))


def test_local_branch_is_added_to_the_attention(x: Tensor, types: Tensor) -> None:
    block = block_of(local='sage', norm=None, feed_forward=False)
    conv = block.local.conv
    mean = torch.stack([x[5], x[0], 0 * x[0], 0 * x[0], (x[3] + x[1]) / 2, 0 * x[0]])  # by the graph edges
    local = linear(conv.lin_l, mean) + x @ conv.lin_r.weight.T
    attended, _ = dense_attention(block.attention, x, types)
    for graph in (csr(), table()):
        torch.testing.assert_close(block(x, graph, types)[0], (attended + local + x).relu())


@pytest.mark.parametrize('kind', ['sage', 'gat', 'gatedgcn'])
@pytest.mark.parametrize('pre_norm', [True, False])
@pytest.mark.parametrize('feed_forward', [True, False])
def test_block_with_all_options_keeps_the_rows_of_its_targets_and_learns(
    kind: str, pre_norm: bool, feed_forward: bool, x: Tensor, types: Tensor
) -> None:
    options = {'local': kind, 'pre_norm': pre_norm, 'feed_forward': feed_forward, 'linear_skip': True}
    block = block_of(**options).eval()
    whole, _ = block(x, table(), types)
    first = NeighborTable(table().source[:5], table().edge_type[:5], NUM_NODES)
    torch.testing.assert_close(block(x, first, types)[0], whole[:5])
    (block.train()(x, first, types)[0] * torch.randn(5, WIDTH)).sum().backward()
    without = [name for name, p in block.named_parameters() if not p.grad.abs().sum() > 0]
    # What a batch norm right after it takes away again.
    assert all(name.endswith('bias') for name in without)
