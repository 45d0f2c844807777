"""The attention layer against a dense formula, with gradients."""

from __future__ import annotations

import pytest
import torch
from blocks import WIDTH
from dense_attention import EDGES, NUM_NODES, csr, dense_attention, table
from torch import Tensor

from graphgps_ext.graph import NeighborTable
from graphgps_ext.layer.attention import SparseAttention


def layer_of(heads: int = 2, **kwargs: object) -> SparseAttention:
    """A layer in float64 with weights far from those of a fresh one."""
    torch.manual_seed(0)
    layer = SparseAttention(WIDTH, heads, implementation='torch', **kwargs).double()
    for parameter in layer.parameters():
        torch.nn.init.normal_(parameter)
    return layer


def gradients(layer: SparseAttention, out: Tensor, *inputs: Tensor) -> list[Tensor]:
    """Gradients of a loss in which every output counts differently."""
    loss = (out * torch.arange(out.numel(), dtype=out.dtype).view_as(out).sin()).sum()
    return list(torch.autograd.grad(loss, [*layer.parameters(), *inputs]))


@pytest.mark.parametrize('form', [csr, table])
@pytest.mark.parametrize('heads', [1, 4])
@pytest.mark.parametrize('temperature', [1.0, 0.3])
@pytest.mark.parametrize('normalize_values', [False, True])
def test_output_and_gradients_are_those_of_the_dense_formula(
    form, heads: int, temperature: float, normalize_values: bool, x: Tensor, types: Tensor
) -> None:
    layer = layer_of(heads, normalize_values=normalize_values)
    x, types = x.requires_grad_(), types.requires_grad_()
    out, weights = layer(x, form(), types, temperature=temperature)
    expected, _ = dense_attention(layer, x, types, temperature=temperature)
    assert weights is None
    torch.testing.assert_close(out, expected)
    found = gradients(layer, out, x, types)
    torch.testing.assert_close(found, gradients(layer, expected, x, types))
    assert all(gradient.abs().sum() > 0 for gradient in found)


@pytest.mark.parametrize('form', [csr, table])
def test_edge_embedding_is_a_further_term_of_the_logits(form, x: Tensor, types: Tensor) -> None:
    layer = layer_of()
    edge_embedding = torch.randn(len(EDGES), WIDTH, dtype=torch.float64, requires_grad=True)
    neighbors = form()
    given = edge_embedding
    if isinstance(neighbors, NeighborTable):
        # What stands in empty slots is not read.
        given = edge_embedding[neighbors.edge_id].masked_fill(neighbors.source[..., None] < 0, 1e9)
    out, _ = layer(x, neighbors, types, temperature=0.5, edge_embedding=given)
    expected, _ = dense_attention(
        layer, x, types, temperature=0.5, edge_embedding=dict(zip(EDGES, edge_embedding, strict=True))
    )
    torch.testing.assert_close(out, expected)
    torch.testing.assert_close(
        gradients(layer, out, edge_embedding), gradients(layer, expected, edge_embedding)
    )


def test_weights_are_returned_on_request_and_have_no_gradient(x: Tensor, types: Tensor) -> None:
    layer = layer_of()
    _, expected = dense_attention(layer, x, types, temperature=0.7)
    _, weights = layer(x, csr(), types, temperature=0.7, return_weights=True)
    torch.testing.assert_close(weights, expected.detach())
    _, in_table = layer(x, table(), types, temperature=0.7, return_weights=True)
    present = table().source >= 0
    torch.testing.assert_close(in_table[present], expected.detach()[table().edge_id[present]])
    assert (in_table[~present] == 0).all()
    assert not weights.requires_grad and not in_table.requires_grad


def test_normalised_values_have_unit_length_times_the_learned_scale(x: Tensor, types: Tensor) -> None:
    fresh = SparseAttention(WIDTH, 1, normalize_values=True)
    assert fresh.value_scale.item() == 0.25
    layer = layer_of(1, normalize_values=True)
    layer.value_scale.data.fill_(3.0)
    # Node 5 sees itself alone, so its output is its own value.
    out, _ = layer(x, csr(), types)
    assert out[5].norm().item() == pytest.approx(3.0)
    longer, _ = layer(x * torch.tensor([1, 1, 1, 1, 1, 100.0])[:, None], csr(), types)
    torch.testing.assert_close(longer[5], out[5])


def test_temperature_may_be_a_tensor(x: Tensor, types: Tensor) -> None:
    layer = layer_of()
    edge_embedding = torch.randn(len(EDGES), WIDTH, dtype=torch.float64)
    expected, _ = layer(x, csr(), types, temperature=0.3, edge_embedding=edge_embedding)
    out, _ = layer(
        x, csr(), types, temperature=torch.tensor(0.3, dtype=x.dtype), edge_embedding=edge_embedding
    )
    assert torch.equal(out, expected)


def test_clamp_bounds_logit_over_temperature(x: Tensor, types: Tensor) -> None:
    layer = layer_of(logit_clamp=0.5)
    _, weights = layer(100 * x, csr(), types, temperature=0.1, return_weights=True)
    # Within ±0.5 no weight of a row exceeds another by more than a factor e.
    for node in (0, 1, 4):
        row = weights[[edge[0] == node for edge in EDGES]]
        assert (row.max(0).values / row.min(0).values <= torch.e + 1e-9).all()
    _, free = layer_of()(100 * x, csr(), types, temperature=0.1, return_weights=True)
    assert free[[edge[0] == 4 for edge in EDGES]].min() < 1e-9


def test_node_without_in_edges_gets_zeros(x: Tensor, types: Tensor) -> None:
    out, _ = layer_of()(x, csr(), types)
    assert (out[3] == 0).all() and (out[[0, 1, 2, 4, 5]] != 0).all()


def test_targets_are_the_first_rows(x: Tensor, types: Tensor) -> None:
    edges = [edge for edge in EDGES if edge[0] < 3]
    layer = layer_of()
    whole, _ = layer(x, csr(), types)
    first = NeighborTable(table(edges).source[:3], table(edges).edge_type[:3], NUM_NODES)
    out, _ = layer(x, first, types)
    torch.testing.assert_close(out, whole[:3])


@pytest.mark.parametrize(('width', 'heads'), [(32, 5), (4, 8), (8, 0)])
def test_width_that_heads_do_not_divide_is_refused(width: int, heads: int) -> None:
    message = (
        rf'hidden_channels needs to be a multiple of heads, got {width} and {heads} '
        r'\(set gt.dim_hidden or gt.n_heads\)'
    )
    with pytest.raises(ValueError, match=message):
        SparseAttention(width, heads)


def test_reset_draws_the_weights_of_a_new_layer() -> None:
    torch.manual_seed(0)
    layer = SparseAttention(6, 2, normalize_values=True)
    fresh = {name: value.clone() for name, value in layer.state_dict().items()}
    for parameter in layer.parameters():
        torch.nn.init.constant_(parameter, 7.0)
    torch.manual_seed(0)
    layer.reset_parameters()
    assert fresh.keys() == layer.state_dict().keys()
    assert all(torch.equal(value, fresh[name]) for name, value in layer.state_dict().items())


def test_printed_layer_says_its_options() -> None:
    text = repr(SparseAttention(6, 2, logit_clamp=8.0))
    assert 'heads=2, normalize_values=False, logit_clamp=8.0, implementation=None' in text
