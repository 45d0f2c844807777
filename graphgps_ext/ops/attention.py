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
from graphgps_ext.ops.eager import EagerAttention
from graphgps_ext.ops.inputs import AttentionInputs

Implementation = Literal['torch', 'numba', 'triton']
IMPLEMENTATIONS = ('torch', 'numba', 'triton')
PLAIN_TENSORS = (Tensor, torch.nn.Parameter)  # others, like fake ones, have to be seen by the dispatcher
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
    temperature: float | Tensor = 1.0,
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

    Gradients reach query, key, value, both tables, the edge bias and the temperature. The numba and Triton
    implementations keep nothing of size E * C, can be differentiated once, and give bit-equal results from
    run to run; those of numba do not depend on the number of threads either. Their backward pass reads the
    transpose of the graph: make it once by :func:`with_transpose`, or every backward pass makes its own.

    Args:
        query: [N, H, C] floating point, any strides, as key and value.
        key: [M, H, C].
        value: [M, H, C].
        neighbors: the graph: CSR with E edges, or a table of K slots per node.
        type_scale: [T, H, C], the first table; edge types must lie in [0, T).
        type_bias: [T, H], the second table.
        temperature: positive; below 1 sharpens the weights. A tensor [] on the device of the query is read
            there, at each replay of a CUDA graph too; nobody looks whether it is positive, because a GPU
            would have to be waited for.
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
    dtype = query.dtype
    if not dtype == key.dtype == value.dtype:
        dtype = torch.promote_types(dtype, torch.promote_types(key.dtype, value.dtype))
        query, key, value = query.to(dtype), key.to(dtype), value.to(dtype)
    table_dtype = torch.float64 if dtype == torch.float64 else torch.float32  # that of all sums
    if not type_scale.dtype == type_bias.dtype == table_dtype:
        type_scale, type_bias = type_scale.to(table_dtype), type_bias.to(table_dtype)
    inputs = AttentionInputs(
        query, key, value, type_scale, type_bias, edge_bias,
        neighbors.indptr, neighbors.source, neighbors.edge_type, float(logit_clamp),
    )  # fmt: skip
    _check(inputs, neighbors, temperature)
    inputs = _divided(inputs, temperature)
    chosen = _choose(inputs.query, implementation)
    if chosen == 'torch':
        out, weights = torch_impl.attention(inputs, neighbors.target())
        return (out, weights.detach()) if return_weights else out
    inputs = _autocast(inputs)
    if type(inputs.query) in PLAIN_TENSORS and not torch.compiler.is_compiling():
        out, weights = EagerAttention.apply(neighbors.transpose, return_weights, chosen, *inputs)
    else:
        t = neighbors.transpose
        transpose = (None,) * 4 if t is None else (t.indptr, t.target, t.edge_type, t.edge_id)
        out, _, weights = fused_attention(*inputs[:9], *transpose, inputs.logit_clamp, return_weights, chosen)
    return (out, weights.view(*neighbors.edge_type.shape, query.shape[1])) if return_weights else out


def _divided(inputs: AttentionInputs, temperature: float | Tensor) -> AttentionInputs:
    """All terms of the logit divided by the temperature: no kernel has to know it."""
    if not isinstance(temperature, Tensor) and temperature == 1:
        return inputs
    scale, bias, edge_bias = inputs.type_scale, inputs.type_bias, inputs.edge_bias
    return inputs._replace(
        type_scale=scale / temperature,
        type_bias=bias / temperature,
        edge_bias=None if edge_bias is None else edge_bias.to(scale.dtype) / temperature,
    )


def _autocast(inputs: AttentionInputs) -> AttentionInputs:
    """Query, key and value in the dtype of autocast, on the CPU in float32, the only one of its kernels.

    The tables stay in float32: they are tiny, and sums run in float32 anyway.
    """
    device = inputs.query.device.type
    if not torch.is_autocast_enabled(device):
        return inputs
    dtype = torch.float32 if device == 'cpu' else torch.get_autocast_dtype(device)
    query, key, value = (x.to(dtype) for x in inputs[:3])
    return inputs._replace(query=query, key=key, value=value)


def _choose(query: Tensor, implementation: Implementation | None) -> Implementation:
    if implementation is not None and implementation not in IMPLEMENTATIONS:
        raise ValueError(f'implementation must be one of {IMPLEMENTATIONS} or None, got {implementation!r}')
    device, dtype = query.device.type, query.dtype
    if device == 'cpu' and torch.is_autocast_enabled('cpu') and dtype != torch.float64:
        dtype = torch.float32  # see `_autocast`
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


def _check(inputs: AttentionInputs, neighbors: Graph, temperature: float | Tensor) -> None:
    if inputs.query.dim() != 3 or inputs.query.shape[0] != neighbors.num_nodes:
        raise ValueError(f'query needs shape [{neighbors.num_nodes}, H, C], got {tuple(inputs.query.shape)}')
    _, H, C = inputs.query.shape
    T = inputs.type_scale.shape[0]
    if tuple(inputs.type_scale.shape) != (T, H, C):
        raise ValueError(f'type_scale needs shape [T, {H}, {C}], got {tuple(inputs.type_scale.shape)}')
    for name, needed in (
        ('key', (neighbors.num_sources, H, C)),
        ('value', (neighbors.num_sources, H, C)),
        ('type_bias', (T, H)),
        ('edge_bias', (*neighbors.edge_type.shape, H)),
    ):
        tensor = getattr(inputs, name)
        if tensor is not None and tuple(tensor.shape) != needed:
            raise ValueError(f'{name} needs shape {needed}, got {tuple(tensor.shape)}')
    if isinstance(temperature, Tensor):
        if temperature.dim() or temperature.device != inputs.query.device:
            raise ValueError(
                f'temperature needs shape [] on {inputs.query.device}, '
                f'got {list(temperature.shape)} on {temperature.device}'
            )
    elif not temperature > 0:
        raise ValueError(f'temperature must be positive, got {temperature}')
    if inputs.logit_clamp < 0:
        raise ValueError(f'logit_clamp must be 0 (none) or positive, got {inputs.logit_clamp}')
