"""The fused implementations as an autograd function, for eager mode.

The dispatcher's way to an operator in Python and back would cost the host twice what is below.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from graphgps_ext.graph import OutNeighbors
from graphgps_ext.ops import fused
from graphgps_ext.ops.custom_op import fused_attention_backward
from graphgps_ext.ops.inputs import AttentionInputs


class EagerAttention(torch.autograd.Function):
    """Like :func:`graphgps_ext.ops.custom_op.fused_attention`, with the same bits."""

    @staticmethod
    def forward(
        ctx: Any,
        transpose: OutNeighbors | None,
        want_weights: bool,
        implementation: str,
        *arguments: Any,
    ) -> tuple[Tensor, Tensor | None]:
        """(output [N, H, C], weights [E * H] if wanted); `arguments`: the fields of AttentionInputs."""
        inputs = AttentionInputs._make(arguments)
        out, lse, weights = fused.forward(inputs, want_weights, implementation)
        # What autograd has to look after. The rest belongs to the graph, which nobody differentiates.
        ctx.save_for_backward(out, lse, *inputs[:6])
        ctx.graph, ctx.transpose, ctx.logit_clamp = inputs[6:9], transpose, inputs.logit_clamp
        ctx.implementation = implementation
        if weights is not None:
            ctx.mark_non_differentiable(weights)
        return out, weights

    @staticmethod
    def backward(ctx: Any, grad: Tensor, _: Tensor | None) -> tuple[Tensor | None, ...]:
        """One gradient for each argument of `forward`."""
        out, lse, *tensors = ctx.saved_tensors
        edge_bias = tensors[5]
        want_edge_grad = edge_bias is not None and ctx.needs_input_grad[8]
        rest = want_edge_grad, ctx.implementation
        if torch.is_grad_enabled():  # the operator, of which autograd knows that it has no second derivative
            t = ctx.transpose
            flat = (None,) * 4 if t is None else (t.indptr, t.target, t.edge_type, t.edge_id)
            arguments = (grad, out, lse, *tensors, *ctx.graph, *flat, ctx.logit_clamp)
            *grads, grad_edge = fused_attention_backward(*arguments, *rest)
        else:
            inputs = AttentionInputs._make((*tensors, *ctx.graph, ctx.logit_clamp))
            *grads, grad_edge = fused.backward(grad, out, lse, inputs, ctx.transpose, *rest)
        grads.append(grad_edge.view(edge_bias.shape).to(edge_bias.dtype) if want_edge_grad else None)
        return None, None, None, *grads, None, None, None, None
