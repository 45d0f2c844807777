"""The fused implementations as custom operators: torch.compile and autocast see one opaque call each."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from graphgps_ext.graph import OutNeighbors
from graphgps_ext.ops import numba_impl
from graphgps_ext.ops.inputs import AttentionInputs


def _backend(name: str) -> ModuleType:
    if name == 'numba':
        return numba_impl
    from graphgps_ext.ops import triton_impl  # imported when used: builds of torch without CUDA lack Triton

    return triton_impl


@torch.library.custom_op('graphgps_ext::sparse_attention', mutates_args=())
def fused_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    type_scale: Tensor,
    type_bias: Tensor,
    edge_bias: Tensor | None,
    indptr: Tensor | None,
    source: Tensor,
    edge_type: Tensor,
    out_indptr: Tensor | None,
    out_target: Tensor | None,
    out_edge_type: Tensor | None,
    out_edge_id: Tensor | None,
    temperature: float,
    logit_clamp: float,
    want_weights: bool,
    implementation: str,
) -> tuple[Tensor, Tensor, Tensor]:
    """(output [N, H, C], log-sum-exp [N, H], weights [E * H] or empty); differentiable in the output only.

    `indptr` is None for a table, whose `source` and `edge_type` are [N, K]. The `out_*` tensors are the
    transpose, which only the backward pass reads; without them it makes its own.
    """
    inputs = AttentionInputs(
        query, key, value, type_scale, type_bias, edge_bias, indptr, source, edge_type,
        temperature, logit_clamp,
    )  # fmt: skip
    return _backend(implementation).forward(inputs, want_weights)


@torch.library.custom_op('graphgps_ext::sparse_attention_backward', mutates_args=())
def fused_attention_backward(
    grad: Tensor,
    out: Tensor,
    lse: Tensor,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    type_scale: Tensor,
    type_bias: Tensor,
    edge_bias: Tensor | None,
    indptr: Tensor | None,
    source: Tensor,
    edge_type: Tensor,
    out_indptr: Tensor | None,
    out_target: Tensor | None,
    out_edge_type: Tensor | None,
    out_edge_id: Tensor | None,
    temperature: float,
    logit_clamp: float,
    want_edge_grad: bool,
    implementation: str,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Gradients of query, key, value, type_scale, type_bias and edge_bias (flat; empty unless wanted)."""
    transpose = None
    if out_indptr is not None and out_target is not None and out_edge_type is not None:
        if edge_bias is None or out_edge_id is not None:
            transpose = OutNeighbors(out_indptr, out_target, out_edge_type, out_edge_id)
    inputs = AttentionInputs(
        query, key, value, type_scale, type_bias, edge_bias, indptr, source, edge_type,
        temperature, logit_clamp,
    )  # fmt: skip
    return _backend(implementation).backward(grad, out, lse, inputs, transpose, want_edge_grad)


@fused_attention.register_fake
def _forward_fake(
    query: Tensor, key: Tensor, value: Tensor, type_scale: Tensor, type_bias: Tensor,
    edge_bias: Tensor | None, indptr: Tensor | None, source: Tensor, edge_type: Tensor,
    out_indptr: Tensor | None, out_target: Tensor | None, out_edge_type: Tensor | None,
    out_edge_id: Tensor | None, temperature: float, logit_clamp: float, want_weights: bool,
    implementation: str,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    N, H, C = query.shape
    lse = query.new_empty(N, H, dtype=torch.float32)
    weights = query.new_empty(source.numel() * H if want_weights else 0, dtype=torch.float32)
    return query.new_empty(N, H, C), lse, weights


@fused_attention_backward.register_fake
def _backward_fake(
    grad: Tensor, out: Tensor, lse: Tensor, query: Tensor, key: Tensor, value: Tensor, type_scale: Tensor,
    type_bias: Tensor, edge_bias: Tensor | None, indptr: Tensor | None, source: Tensor, edge_type: Tensor,
    out_indptr: Tensor | None, out_target: Tensor | None, out_edge_type: Tensor | None,
    out_edge_id: Tensor | None, temperature: float, logit_clamp: float, want_edge_grad: bool,
    implementation: str,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    return (
        query.new_empty(query.shape),
        key.new_empty(key.shape),
        value.new_empty(value.shape),
        type_scale.new_empty(type_scale.shape),
        type_bias.new_empty(type_bias.shape),
        query.new_empty(source.numel() * query.shape[1] if want_edge_grad else 0, dtype=torch.float32),
    )


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


def _cast_and_call(
    device_type: str, dtype: torch.dtype, args: tuple[Any, ...]
) -> tuple[Tensor, Tensor, Tensor]:
    query, key, value, *rest = args
    with torch.autocast(device_type, enabled=False):
        return fused_attention(query.to(dtype), key.to(dtype), value.to(dtype), *rest)


def _autocast_cuda(*args: Any) -> tuple[Tensor, Tensor, Tensor]:
    # The tables stay in float32: they are tiny, and sums run in float32 anyway.
    return _cast_and_call('cuda', torch.get_autocast_dtype('cuda'), args)


def _autocast_cpu(*args: Any) -> tuple[Tensor, Tensor, Tensor]:
    # The CPU kernels read float32 only.
    return _cast_and_call('cpu', torch.float32, args)


_autocast.impl('sparse_attention', _autocast_cuda, 'AutocastCUDA')
_autocast.impl('sparse_attention', _autocast_cpu, 'AutocastCPU')
