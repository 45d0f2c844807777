"""The sparse attention operator: one contract, three implementations."""

from __future__ import annotations

import warnings
from importlib.util import find_spec
from typing import Literal

import torch
from torch import Tensor

from graphgps_ext.graph import Graph
from graphgps_ext.ops import torch_impl
from graphgps_ext.ops.custom_op import fused_attention

Implementation = Literal['torch', 'numba', 'triton']
IMPLEMENTATIONS = ('torch', 'numba', 'triton')
TRITON_DTYPES = (torch.float32, torch.bfloat16, torch.float16)

_has_triton = find_spec('triton') is not None  # builds of torch without CUDA bring none


def sparse_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    neighbors: Graph,
    type_scale: Tensor,
    type_bias: Tensor,
    *,
    temperature: float = 1.0,
    logit_clamp: float = 0.0,
    edge_bias: Tensor | None = None,
    return_weights: bool = False,
    implementation: Implementation | None = None,
) -> Tensor | tuple[Tensor, Tensor]:
    """Attention of each node over its in-neighbours, whose edges carry one of T types.

    For an edge j→i of type t, per head (N target nodes, M sources, E edges, K slots of a table, T edge types,
    H heads, C channels per head)::

        logit  = sum_c query[i, c] * key[j, c] * type_scale[t, c] / sqrt(C) + type_bias[t] + edge_bias
        weight = softmax over the in-neighbours of i of logit / temperature
        out[i] = sum_j weight * value[j]

    This is the attention of Exphormer (Shirzad et al., ICML 2023) with the temperature of Spexphormer's score
    estimator (Shirzad et al., NeurIPS 2024). Differences: the soft-max subtracts the maximum, so no clamp is
    needed and none is the default; edge types enter through two tables, not by a feature vector per edge.

    Gradients reach query, key, value, both tables and the edge bias. The numba and Triton implementations
    keep nothing of size E * C, can be differentiated once, and give bit-equal results from run to run; those
    of numba do not depend on the number of threads either. Their backward pass reads the transpose of the
    graph: make it once by :func:`with_transpose`, or every backward pass makes its own.

    Args:
        query: [N, H, C] floating point, any strides, as key and value.
        key: [M, H, C].
        value: [M, H, C].
        neighbors: the graph: CSR with E edges, or a table of K slots per node.
        type_scale: [T, H, C], the first table; edge types must lie in [0, T).
        type_bias: [T, H], the second table.
        temperature: positive; below 1 sharpens the weights.
        logit_clamp: clamps logit / temperature to [-logit_clamp, logit_clamp]; the gradient is zero where it
            binds. 0 = none.
        edge_bias: [E, H], or [N, K, H] for a table; added to the logit before the temperature.
        return_weights: also return the weights, without gradient.
        implementation: 'torch' (any device and dtype), 'numba' (CPU, float32) or 'triton' (CUDA; float32,
            bfloat16 and float16, summed in float32). None = numba or Triton where these take the tensors, and
            torch elsewhere.

    Returns:
        [N, H, C] in the dtype of the inputs (float32 under autocast on the CPU); zeros for a node without
        in-neighbours. With `return_weights` also the weights, [E, H] or [N, K, H], float32 unless computed in
        float64; 0 in empty slots of a table.

    Raises:
        ValueError: if shapes do not fit each other, or the implementation does not take these tensors.
        IndexError: if an edge has a source or type out of range (numba and torch; Triton does not look).
    """
    _check_shapes(query, key, value, neighbors, type_scale, type_bias, edge_bias, temperature, logit_clamp)
    dtype = torch.promote_types(query.dtype, torch.promote_types(key.dtype, value.dtype))
    query, key, value = query.to(dtype), key.to(dtype), value.to(dtype)
    chosen = _choose(query, implementation)
    if chosen == 'torch':
        out, weights = torch_impl.attention(
            query, key, value, neighbors, type_scale, type_bias, edge_bias, temperature, logit_clamp
        )
        return (out, weights.detach()) if return_weights else out

    t = neighbors.transpose
    transpose = (None,) * 4 if t is None else (t.indptr, t.target, t.edge_type, t.edge_id)
    graph = (neighbors.indptr, neighbors.source, neighbors.edge_type, *transpose)
    weights_shape = (*neighbors.edge_type.shape, query.shape[1])
    out, _, weights = fused_attention(
        query, key, value, type_scale.float(), type_bias.float(), edge_bias, *graph,
        float(temperature), float(logit_clamp), return_weights, chosen,
    )  # fmt: skip
    return (out, weights.view(weights_shape)) if return_weights else out


def _choose(query: Tensor, implementation: Implementation | None) -> Implementation:
    if implementation is not None and implementation not in IMPLEMENTATIONS:
        raise ValueError(f'implementation must be one of {IMPLEMENTATIONS} or None, got {implementation!r}')
    device, dtype = query.device.type, query.dtype
    if device == 'cpu' and torch.is_autocast_enabled('cpu') and dtype != torch.float64:
        dtype = torch.float32  # the operator's autocast rule
    for_numba, for_triton = device == 'cpu' and dtype == torch.float32, dtype in TRITON_DTYPES
    if implementation == 'numba' and not for_numba:
        raise ValueError(
            f"implementation 'numba' takes float32 tensors on the CPU, got {dtype} on {device}; "
            f"use 'torch' or None"
        )
    if implementation == 'triton' and not for_triton:
        raise ValueError(
            f"implementation 'triton' takes float32, bfloat16 or float16 tensors, got {dtype}; "
            f"use 'torch' or None"
        )
    if implementation is None:
        implementation = 'torch'
        if for_numba:
            implementation = 'numba'
        elif device == 'cuda' and for_triton:
            implementation = 'triton'
    if implementation == 'triton' and not _has_triton:
        warnings.warn(
            'triton is not installed: attention in plain torch is about ten times slower and keeps tensors '
            'of size edges x channels; pip install triton',
            stacklevel=3,
        )
        return 'torch'
    return implementation


def _check_shapes(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    neighbors: Graph,
    type_scale: Tensor,
    type_bias: Tensor,
    edge_bias: Tensor | None,
    temperature: float,
    logit_clamp: float,
) -> None:
    if query.dim() != 3 or query.shape[0] != neighbors.num_nodes:
        raise ValueError(f'query needs shape [{neighbors.num_nodes}, H, C], got {tuple(query.shape)}')
    _, H, C = query.shape
    for name, x in (('key', key), ('value', value)):
        if tuple(x.shape) != (neighbors.num_sources, H, C):
            raise ValueError(f'{name} needs shape {(neighbors.num_sources, H, C)}, got {tuple(x.shape)}')
    T = type_scale.shape[0]
    if tuple(type_scale.shape) != (T, H, C):
        raise ValueError(f'type_scale needs shape [T, {H}, {C}], got {tuple(type_scale.shape)}')
    if tuple(type_bias.shape) != (T, H):
        raise ValueError(f'type_bias needs shape {(T, H)}, got {tuple(type_bias.shape)}')
    if edge_bias is not None and tuple(edge_bias.shape) != (*neighbors.edge_type.shape, H):
        raise ValueError(
            f'edge_bias needs shape {(*neighbors.edge_type.shape, H)}, got {tuple(edge_bias.shape)}'
        )
    if not temperature > 0:
        raise ValueError(f'temperature must be positive, got {temperature}')
    if logit_clamp < 0:
        raise ValueError(f'logit_clamp must be 0 (none) or positive, got {logit_clamp}')
