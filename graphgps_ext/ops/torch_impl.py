"""The attention operator in plain torch: the reference, for any device and dtype.

It keeps several tensors of size E * H * C, which the other implementations exist to avoid.
"""

from __future__ import annotations

import torch
from torch import Tensor

from graphgps_ext.graph import Graph


def attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    neighbors: Graph,
    type_scale: Tensor,
    type_bias: Tensor,
    edge_bias: Tensor | None,
    temperature: float,
    logit_clamp: float,
) -> tuple[Tensor, Tensor]:
    """Output [N, H, C] and weights ([E, H] or [N, K, H]); see :func:`sparse_attention` for the arguments.

    float16 and bfloat16 are computed in float32; the output has the dtype of `value`, the weights that of the
    computation.
    """
    N, H, C = query.shape
    dtype = torch.float64 if query.dtype == torch.float64 else torch.float32
    q, k, v, scale, bias = (x.to(dtype) for x in (query, key, value, type_scale, type_bias))
    source, target = neighbors.source.flatten().long(), neighbors.target().flatten().long()
    valid: Tensor | None = None  # [E]; no mask where every slot is an edge
    if neighbors.indptr is None:
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
    edge_type = neighbors.edge_type.flatten().long()
    logits = by_type.gather(2, edge_type[:, None, None].expand(-1, H, 1)).squeeze(2)  # [E, H]
    if edge_bias is not None:
        logits = logits + edge_bias.reshape(-1, H).to(dtype)
    logits = logits / temperature
    if logit_clamp > 0:
        logits = logits.clamp(-logit_clamp, logit_clamp)

    if valid is not None:
        logits = logits.masked_fill(~valid[:, None], -torch.inf)

    index = target[:, None].expand(-1, H)
    top = logits.new_full((N, H), -torch.inf).scatter_reduce(0, index, logits.detach(), 'amax')
    top = torch.where(top == -torch.inf, 0.0, top)  # rows without neighbours
    mass = (logits - top[target]).exp()
    total = mass.new_zeros(N, H).index_add(0, target, mass)
    weights = mass / total[target].clamp(min=torch.finfo(dtype).tiny)
    out = v.new_zeros(N, H, C).index_add(0, target, weights[:, :, None] * v_j)
    return out.to(value.dtype), weights.view(*neighbors.edge_type.shape, H)
