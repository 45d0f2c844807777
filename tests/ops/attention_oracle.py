"""The attention operator written as slow loops in float64; truth for every implementation."""

from __future__ import annotations

import torch
from torch import Tensor

from graphgps_ext.graph import InNeighbors, NeighborTable


def edge_list(neighbors: InNeighbors | NeighborTable) -> list[list[tuple[int, int, int]]]:
    """For each node its in-edges as (source, type, flat position in the CSR arrays or the table)."""
    rows = []
    types = neighbors.edge_type.flatten().tolist()
    if isinstance(neighbors, InNeighbors):
        ptr, source = neighbors.indptr.tolist(), neighbors.source.tolist()
    else:
        ptr = [i * neighbors.width for i in range(neighbors.num_nodes + 1)]
        source = neighbors.source.flatten().tolist()
    for i in range(neighbors.num_nodes):
        rows.append([(source[e], types[e], e) for e in range(ptr[i], ptr[i + 1]) if source[e] >= 0])
    return rows


def loop_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    neighbors: InNeighbors | NeighborTable,
    type_scale: Tensor,
    type_bias: Tensor,
    *,
    temperature: float = 1.0,
    logit_clamp: float = 0.0,
    edge_bias: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Output [N, H, C] and weights [E, H] or [N, K, H], node by node and head by head, in float64."""
    q, k, v, scale, bias = (x.double() for x in (query, key, value, type_scale, type_bias))
    N, H, C = q.shape
    flat_bias = None if edge_bias is None else edge_bias.double().reshape(-1, H)
    out = [[torch.zeros(C, dtype=torch.float64) for _ in range(H)] for _ in range(N)]
    weights = torch.zeros(neighbors.edge_type.numel(), H, dtype=torch.float64)
    for i, row in enumerate(edge_list(neighbors)):
        for h in range(H):
            if not row:
                continue
            logits = []
            for j, t, e in row:
                logit = (q[i, h] * k[j, h] * scale[t, h]).sum() / C**0.5 + bias[t, h]
                if flat_bias is not None:
                    logit = logit + flat_bias[e, h]
                logit = logit / temperature
                if logit_clamp > 0:
                    logit = logit.clamp(-logit_clamp, logit_clamp)
                logits.append(logit)
            w = torch.softmax(torch.stack(logits), 0)
            out[i][h] = (w[:, None] * torch.stack([v[j, h] for j, _, _ in row])).sum(0)
            for (_, _, e), x in zip(row, w.detach(), strict=True):
                weights[e, h] = x
    stacked = torch.stack([torch.stack(heads) for heads in out]) if N else q.new_zeros(0, H, C)
    return stacked, weights.view(*neighbors.edge_type.shape, H)
