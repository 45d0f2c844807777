"""The fused implementations as custom operators: torch.compile sees one opaque call each.

An operator takes flat arguments: the tensors of :class:`AttentionInputs`, the four tensors of the transpose,
which only the backward pass reads (without them it makes its own), then the clamp.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from graphgps_ext.graph import OutNeighbors
from graphgps_ext.ops import fused
from graphgps_ext.ops.inputs import AttentionInputs

_ARGUMENTS = (
    'Tensor query, Tensor key, Tensor value, Tensor type_scale, Tensor type_bias, Tensor? edge_bias, '
    'Tensor? indptr, Tensor source, Tensor edge_type, '
    'Tensor? out_indptr, Tensor? out_target, Tensor? out_edge_type, Tensor? out_edge_id, '
    'float logit_clamp'
)
_FORWARD = f'({_ARGUMENTS}, bool want_weights, str implementation) -> (Tensor, Tensor, Tensor)'
_BACKWARD = (
    f'(Tensor grad, Tensor out, Tensor lse, {_ARGUMENTS}, bool want_edge_grad, str implementation) '
    '-> (Tensor, Tensor, Tensor, Tensor, Tensor, Tensor)'
)


def _split(arguments: Sequence[Any]) -> tuple[AttentionInputs, OutNeighbors | None]:
    """The flat arguments up to `logit_clamp` as what the implementations take."""
    *tensors, logit_clamp = arguments
    inputs = AttentionInputs._make((*tensors[:9], logit_clamp))
    return inputs, None if tensors[9] is None else OutNeighbors(*tensors[9:])


@torch.library.custom_op('graphgps_ext::sparse_attention', mutates_args=(), schema=_FORWARD)
def fused_attention(*arguments: Any) -> tuple[Tensor, Tensor, Tensor]:
    """(output [N, H, C], log-sum-exp [N, H], weights [E * H] or empty); differentiable in the output only."""
    *flat, want_weights, implementation = arguments
    out, lse, weights = fused.forward(_split(flat)[0], want_weights, implementation)
    return out, lse, lse.new_empty(0) if weights is None else weights


@torch.library.custom_op('graphgps_ext::sparse_attention_backward', mutates_args=(), schema=_BACKWARD)
def fused_attention_backward(*arguments: Any) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Gradients of query, key, value, type_scale, type_bias and edge_bias (flat; empty unless wanted)."""
    grad, out, lse, *flat, want_edge_grad, implementation = arguments
    *grads, edge_grad = fused.backward(grad, out, lse, *_split(flat), want_edge_grad, implementation)
    grad_query, grad_key, grad_value, grad_scale, grad_bias = grads
    edge_grad = lse.new_empty(0) if edge_grad is None else edge_grad
    return grad_query, grad_key, grad_value, grad_scale, grad_bias, edge_grad


@fused_attention.register_fake
def _forward_fake(*arguments: Any) -> tuple[Tensor, Tensor, Tensor]:
    *flat, want_weights, _ = arguments
    inputs, _ = _split(flat)
    N, H, C = inputs.query.shape
    lse = inputs.query.new_empty(N, H, dtype=torch.float32)
    weights = lse.new_empty(inputs.source.numel() * H if want_weights else 0)
    return inputs.query.new_empty(N, H, C), lse, weights


@fused_attention_backward.register_fake
def _backward_fake(*arguments: Any) -> tuple[Tensor, ...]:
    _, _, _, *flat, want_edge_grad, _ = arguments
    inputs, _ = _split(flat)
    num_edge_grads = inputs.source.numel() * inputs.query.shape[1] if want_edge_grad else 0
    edge_grad = inputs.query.new_empty(num_edge_grads, dtype=torch.float32)
    return *(tensor.new_empty(tensor.shape) for tensor in inputs[:5]), edge_grad


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor, Tensor]) -> None:
    *tensors, ctx.logit_clamp, _, ctx.implementation = inputs
    out, lse, weights = output
    ctx.mark_non_differentiable(lse, weights)
    ctx.save_for_backward(out, lse, *tensors)


def _backward(ctx: Any, grad: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
    out, lse, *tensors = ctx.saved_tensors
    edge_bias = tensors[5]
    want_edge_grad = edge_bias is not None and ctx.needs_input_grad[5]
    *grads, grad_edge = fused_attention_backward(
        grad, out, lse, *tensors, ctx.logit_clamp, want_edge_grad, ctx.implementation
    )
    grads.append(grad_edge.view(edge_bias.shape).to(edge_bias.dtype) if want_edge_grad else None)
    return *grads, *[None] * 10


fused_attention.register_autograd(_backward, setup_context=_setup_context)
