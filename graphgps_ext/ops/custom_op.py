"""The fused implementations as custom operators: torch.compile and autocast see one opaque call each.

An operator takes flat arguments: the fields of :class:`AttentionInputs` but its two numbers, the four tensors
of the transpose, which only the backward pass reads (without them it makes its own), then the two numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from graphgps_ext.graph import OutNeighbors
from graphgps_ext.ops import numba_impl
from graphgps_ext.ops.inputs import AttentionInputs
from graphgps_ext.ops.transpose import transpose as make_transpose

_ARGUMENTS = (
    'Tensor query, Tensor key, Tensor value, Tensor type_scale, Tensor type_bias, Tensor? edge_bias, '
    'Tensor? indptr, Tensor source, Tensor edge_type, '
    'Tensor? out_indptr, Tensor? out_target, Tensor? out_edge_type, Tensor? out_edge_id, '
    'float temperature, float logit_clamp'
)
_FORWARD = f'({_ARGUMENTS}, bool want_weights, str implementation) -> (Tensor, Tensor, Tensor)'
_BACKWARD = (
    f'(Tensor grad, Tensor out, Tensor lse, {_ARGUMENTS}, bool want_edge_grad, str implementation) '
    '-> (Tensor, Tensor, Tensor, Tensor, Tensor, Tensor)'
)


def _backend(name: str) -> ModuleType:
    if name == 'numba':
        return numba_impl
    from graphgps_ext.ops import triton_impl  # imported when used: builds of torch without CUDA lack Triton

    return triton_impl


def _split(arguments: Sequence[Any]) -> tuple[AttentionInputs, OutNeighbors | None]:
    """The flat arguments up to `logit_clamp` as what the implementations take."""
    *tensors, temperature, logit_clamp = arguments
    inputs = AttentionInputs._make((*tensors[:9], temperature, logit_clamp))
    out_indptr, _, _, out_edge_id = tensors[9:]
    usable = out_indptr is not None and (inputs.edge_bias is None or out_edge_id is not None)
    return inputs, OutNeighbors(*tensors[9:]) if usable else None


@torch.library.custom_op('graphgps_ext::sparse_attention', mutates_args=(), schema=_FORWARD)
def fused_attention(*arguments: Any) -> tuple[Tensor, Tensor, Tensor]:
    """(output [N, H, C], log-sum-exp [N, H], weights [E * H] or empty); differentiable in the output only."""
    *flat, want_weights, implementation = arguments
    return _backend(implementation).forward(_split(flat)[0], want_weights)


@torch.library.custom_op('graphgps_ext::sparse_attention_backward', mutates_args=(), schema=_BACKWARD)
def fused_attention_backward(*arguments: Any) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Gradients of query, key, value, type_scale, type_bias and edge_bias (flat; empty unless wanted)."""
    grad, out, lse, *flat, want_edge_grad, implementation = arguments
    inputs, transpose = _split(flat)
    if transpose is None:
        sizes = inputs.key.shape[0], inputs.type_scale.shape[0]
        graph = (inputs.indptr, inputs.source, inputs.edge_type, *sizes)
        transpose = make_transpose(*graph, with_edge_id=inputs.edge_bias is not None)
    return _backend(implementation).backward(grad, out, lse, inputs, transpose, want_edge_grad)


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
    *tensors, ctx.temperature, ctx.logit_clamp, _, ctx.implementation = inputs
    out, lse, weights = output
    ctx.mark_non_differentiable(lse, weights)
    ctx.save_for_backward(out, lse, *tensors)


def _backward(ctx: Any, grad: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
    out, lse, *tensors = ctx.saved_tensors
    edge_bias = tensors[5]
    want_edge_grad = edge_bias is not None and ctx.needs_input_grad[5]
    *grads, grad_edge = fused_attention_backward(
        grad, out, lse, *tensors, ctx.temperature, ctx.logit_clamp, want_edge_grad, ctx.implementation
    )
    grads.append(grad_edge.view(edge_bias.shape).to(edge_bias.dtype) if want_edge_grad else None)
    return *grads, *[None] * 11


fused_attention.register_autograd(_backward, setup_context=_setup_context)

_autocast = torch.library.Library('graphgps_ext', 'IMPL')


def _in_dtype(
    device_type: str, dtype: torch.dtype, arguments: Sequence[Any]
) -> tuple[Tensor, Tensor, Tensor]:
    """The tables stay in float32: they are tiny, and sums run in float32 anyway."""
    query, key, value, *rest = arguments
    with torch.autocast(device_type, enabled=False):
        return fused_attention(query.to(dtype), key.to(dtype), value.to(dtype), *rest)


def _autocast_cuda(*arguments: Any) -> tuple[Tensor, Tensor, Tensor]:
    return _in_dtype('cuda', torch.get_autocast_dtype('cuda'), arguments)


def _autocast_cpu(*arguments: Any) -> tuple[Tensor, Tensor, Tensor]:
    return _in_dtype('cpu', torch.float32, arguments)  # the only dtype of the CPU kernels


_autocast.impl('sparse_attention', _autocast_cuda, 'AutocastCUDA')
_autocast.impl('sparse_attention', _autocast_cpu, 'AutocastCPU')
