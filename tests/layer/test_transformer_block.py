"""The transformer block: its order of operations, its two forms of graph, and what it must not read."""

from __future__ import annotations

import pytest
import torch
from blocks import WIDTH, block_of
from dense_attention import NUM_NODES, csr, dense_attention, table
from torch import Tensor, nn

from graphgps_ext.graph import NeighborTable


@pytest.mark.parametrize('norm', ['batch', 'graph', 'layer', None])
@pytest.mark.parametrize('residual', [True, False])
def test_block_is_attention_norm_feed_forward_norm(
    norm: str | None, residual: bool, x: Tensor, types: Tensor
) -> None:
    block = block_of(norm=norm, residual=residual)
    attended, _ = dense_attention(block.attention, x, types)
    first, second = block.feed_forward[0], block.feed_forward[3]
    assert first.weight.shape == (2 * WIDTH, WIDTH)
    h = normalised(norm, attended + x if residual else attended)
    out = torch.relu(h @ first.weight.T + first.bias) @ second.weight.T + second.bias
    expected = normalised(norm, out + h if residual else out)
    torch.testing.assert_close(block(x, csr(), types)[0], expected)


def normalised(norm: str | None, h: Tensor) -> Tensor:
    """What a fresh norm computes: over the nodes for batch and graph, over the channels for layer."""
    if norm is None:
        return h
    dim = 1 if norm == 'layer' else 0
    centred = h - h.mean(dim, keepdim=True)
    return centred / (centred.pow(2).mean(dim, keepdim=True) + 1e-5).sqrt()


def test_graph_norm_learns_how_much_of_the_mean_to_take_away(x: Tensor, types: Tensor) -> None:
    norm = block_of(norm='graph').norm_attention
    norm.mean_scale.data.fill_(0.3)
    norm.weight.data.fill_(2.0)
    norm.bias.data.fill_(0.5)
    shifted = x - 0.3 * x.mean(0)
    expected = 2 * shifted / (shifted.pow(2).mean(0) + 1e-5).sqrt() + 0.5
    torch.testing.assert_close(norm(x), expected)


def test_table_of_all_in_neighbours_gives_what_the_whole_graph_gives(x: Tensor, types: Tensor) -> None:
    block = block_of()
    for training in (True, False):
        block.train(training)
        on_graph, _ = block(x, csr(), types, temperature=0.6)
        on_table, _ = block(x, table(), types, temperature=0.6)
        torch.testing.assert_close(on_table, on_graph)


def test_block_of_a_layered_batch_keeps_the_rows_of_its_targets(x: Tensor, types: Tensor) -> None:
    block = block_of().eval()
    whole, _ = block(x, table(), types)
    first = NeighborTable(table().source[:3], table().edge_type[:3], NUM_NODES)
    out, _ = block(x, first, types)
    torch.testing.assert_close(out, whole[:3])


def test_rows_that_nothing_refers_to_are_not_read(x: Tensor, types: Tensor) -> None:
    # Targets 0..2 read nodes 0, 1 and 5 alone; 3 and 4 are beyond the targets and hold NaN.
    first = NeighborTable(table().source[:3], table().edge_type[:3], NUM_NODES)
    assert {*first.source[first.source >= 0].tolist()} == {0, 1, 5}
    poisoned = x.clone()
    poisoned[[3, 4]] = float('nan')
    for normalize_values in (False, True):
        block = block_of(normalize_values=normalize_values)
        clean, _ = block(x, first, types)
        assert torch.equal(block(poisoned, first, types)[0], clean) and clean.isfinite().all()


def test_dropout_acts_in_training_alone(x: Tensor, types: Tensor) -> None:
    dropping, plain = block_of(dropout=0.5), block_of()
    torch.testing.assert_close(dropping.eval()(x, csr(), types)[0], plain.eval()(x, csr(), types)[0])
    assert not torch.allclose(dropping.train()(x, csr(), types)[0], plain.train()(x, csr(), types)[0])
    assert [m.p for m in dropping.modules() if isinstance(m, nn.Dropout)] == [0.5] * 3
