"""The attention layer as dense products over all pairs of nodes and all types; truth for the sparse one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from graphgps_ext.graph import InNeighbors, NeighborTable
from graphgps_ext.layer.attention import SparseAttention

Edge = tuple[int, int, int]  # target, source, type
NUM_NODES, NUM_TYPES = 6, 3

# By target, then in any order. Node 1 has a graph edge and an expander edge from node 0, node 3 has no edges.
EDGES: tuple[Edge, ...] = (
    (0, 0, 2),
    (0, 5, 0),
    (1, 0, 0),
    (1, 0, 1),
    (1, 1, 2),
    (2, 5, 1),
    (4, 3, 0),
    (4, 1, 0),
    (4, 2, 1),
    (4, 4, 2),
    (5, 5, 2),
)


def csr(edges: Sequence[Edge] = EDGES, num_nodes: int = NUM_NODES) -> InNeighbors:
    """The edges as the sparse layers take them."""
    target, source, edge_type = torch.tensor(edges).T
    indptr = torch.zeros(num_nodes + 1, dtype=torch.int64)
    indptr[1:] = torch.bincount(target, minlength=num_nodes).cumsum(0)
    return InNeighbors(indptr, source.int(), edge_type.to(torch.int8), num_sources=num_nodes)


def table(edges: Sequence[Edge] = EDGES, num_nodes: int = NUM_NODES, degree: int = 5) -> NeighborTable:
    """The same edges as a table with empty slots; edges of a row are in reverse order."""
    neighbors = torch.full((num_nodes, degree), -1, dtype=torch.int32)
    edge_type = torch.zeros(num_nodes, degree, dtype=torch.int8)
    edge_id = torch.full((num_nodes, degree), -1)
    used = [0] * num_nodes
    for position, (target, source, kind) in reversed(list(enumerate(edges))):
        slot = used[target]
        neighbors[target, slot], edge_type[target, slot], edge_id[target, slot] = source, kind, position
        used[target] += 1
    return NeighborTable(neighbors, edge_type, num_nodes, edge_id)


def dense_weights(
    query: Tensor,
    key: Tensor,
    type_scale: Tensor,
    type_bias: Tensor,
    edges: Sequence[Edge],
    *,
    temperature: float = 1.0,
    edge_bias: Mapping[Edge, Tensor] | None = None,
) -> Tensor:
    """[H, N, N, T] weights of all pairs and types, zero where there is no edge.

    Args:
        query: [N, H, C]; so is key.
        type_scale: [T, H, C].
        type_bias: [T, H].
        edges: of which no two are equal.
        temperature: τ.
        edge_bias: [H] for each edge.
    """
    N, H, C = query.shape
    T = len(type_bias)
    logits = torch.einsum('ihc,jhc,thc->hijt', query, key, type_scale) / C**0.5
    logits = logits + type_bias.T[:, None, None, :]
    present = torch.zeros(N, N, T, dtype=torch.bool)
    for edge in edges:
        target, source, kind = edge
        present[target, source, kind] = True
        if edge_bias is not None:
            extra = torch.zeros_like(logits)
            extra[:, target, source, kind] = 1
            logits = logits + extra * edge_bias[edge][:, None, None, None]
    flat = (logits / temperature).masked_fill(~present, float('-inf')).flatten(2)
    has_edges = present.flatten(1).any(1)
    weights = torch.zeros_like(flat)
    weights[:, has_edges] = flat[:, has_edges].softmax(-1)
    return weights.view(H, N, N, T)


def dense_attention(
    layer: SparseAttention,
    x: Tensor,
    type_embedding: Tensor,
    edges: Sequence[Edge] = EDGES,
    *,
    temperature: float = 1.0,
    edge_embedding: Mapping[Edge, Tensor] | None = None,
) -> tuple[Tensor, Tensor]:
    """[N, d] as the layer should compute it from its weights, and the attention weights [E, H]."""
    H, C = layer.heads, x.shape[1] // layer.heads
    query, key, value = (x @ lin.weight.T for lin in (layer.lin_query, layer.lin_key, layer.lin_value))
    if layer.normalize_values:
        value = value / value.pow(2).sum(1, keepdim=True).sqrt() * layer.value_scale
    edge_bias = None
    if edge_embedding is not None:
        edge_bias = {edge: layer.lin_type_bias.weight @ e for edge, e in edge_embedding.items()}
    weights = dense_weights(
        query.view(-1, H, C),
        key.view(-1, H, C),
        (type_embedding @ layer.lin_type_scale.weight.T).view(-1, H, C),
        type_embedding @ layer.lin_type_bias.weight.T,
        edges,
        temperature=temperature,
        edge_bias=edge_bias,
    )
    out = torch.einsum('hijt,jhc->ihc', weights, value.view(-1, H, C)).flatten(1)
    return out, torch.stack([weights[:, i, j, t] for i, j, t in edges])
