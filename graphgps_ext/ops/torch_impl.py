"""The attention operator in plain torch: the reference, for any device and dtype.

It keeps several tensors of size E * H * C, which the other implementations exist to avoid.
"""

from __future__ import annotations

import torch
from torch import Tensor

from graphgps_ext.ops.inputs import AttentionInputs


def attention(inputs: AttentionInputs, target: Tensor) -> tuple[Tensor, Tensor]:
    """Output [N, H, C] and weights ([E, H] or [N, K, H]).

    float16 and bfloat16 are computed in float32; the output has the dtype of `value`, the weights that of the
    computation.

    Args:
        inputs: of any dtype; the two tables in that of the computation.
        target: in the shape of `inputs.source`, the target of each edge.
    """
    N, H, C = inputs.query.shape
    scale, bias, dtype = inputs.type_scale, inputs.type_bias, inputs.type_scale.dtype
    q, k, v = (x.to(dtype) for x in inputs[:3])
    source, target = inputs.source.flatten().long(), target.flatten().long()
    valid: Tensor | None = None  # [E]; no mask where every slot is an edge
    if inputs.indptr is None:
        valid = source >= 0
        source = source.clamp(min=0)

    q_i, k_j, v_j = q[target], k[source], v[source]  # [E, H, C]
    if valid is not None:  # an empty slot points at row 0, whose content must not matter
        q_i, k_j, v_j = (torch.where(valid[:, None, None], x, 0.0) for x in (q_i, k_j, v_j))
    # The logit under each type, then the one of the edge: indexing type_scale by edge instead would make a
    # backward pass that adds E * C numbers into T rows.
    # In pieces, because a float32 sum over millions of edges loses digits.
    pieces = (q_i * k_j).split(max(2**14, source.numel() // 64))
    by_type = torch.cat([torch.einsum('ehc,thc->eht', piece, scale * C**-0.5) for piece in pieces]) + bias.t()
    edge_type = inputs.edge_type.flatten().long()
    logits = by_type.gather(2, edge_type[:, None, None].expand(-1, H, 1)).squeeze(2)  # [E, H]
    if inputs.edge_bias is not None:
        logits = logits + inputs.edge_bias.reshape(-1, H).to(dtype)
    if inputs.logit_clamp > 0:
        logits = logits.clamp(-inputs.logit_clamp, inputs.logit_clamp)
    if valid is not None:
        logits = logits.masked_fill(~valid[:, None], -torch.inf)

    index = target[:, None].expand(-1, H)
    top = logits.new_full((N, H), -torch.inf).scatter_reduce(0, index, logits.detach(), 'amax')
    top = torch.where(top == -torch.inf, 0.0, top)  # rows without neighbours
    mass = (logits - top[target]).exp()
    total = mass.new_zeros(N, H).index_add(0, target, mass)
    weights = mass / total[target].clamp(min=torch.finfo(dtype).tiny)
    out = v.new_zeros(N, H, C).index_add(0, target, weights[:, :, None] * v_j)
    return out.to(inputs.value.dtype), weights.view(*inputs.edge_type.shape, H)
