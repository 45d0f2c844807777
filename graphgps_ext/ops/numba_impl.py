"""The attention operator on CPU cores: hands tensors to the numba kernels, chunk by chunk.

Chunks of rows depend on the graph only and every sum across chunks runs in float64 in chunk order, so results
are bit-equal for every number of threads. The backward pass recomputes the weights from the log-sum-exp; the
gradients of keys and values go through the transposed graph, one writer per row.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from graphgps_ext.graph import OutNeighbors
from graphgps_ext.ops import numba_backward, numba_kernels
from graphgps_ext.ops.inputs import AttentionInputs
from graphgps_ext.ops.numba_threads import row_chunks, run_chunks
from graphgps_ext.ops.transpose import transpose as make_transpose

CHUNK_WORK = 2**18  # multiplications per chunk, a fraction of a millisecond
MAX_CHUNKS = 128
CACHED_ROWS = 2**17  # numbers which a core's own cache holds: above, rows are worth asking for early


class _Rows(NamedTuple):
    """A tensor [*, H, C] of any strides with contiguous channels, as the kernels read it."""

    flat: np.ndarray
    node: np.uint64
    head: np.uint64


def _rows(x: Tensor) -> _Rows:
    x = x.detach()
    if x.stride(2) != 1 and x.shape[2] > 1:
        x = x.contiguous()
    extent = 1 + sum((n - 1) * s for n, s in zip(x.shape, x.stride(), strict=True)) if x.numel() else 0
    flat = x.as_strided((extent,), (1,), x.storage_offset()).numpy()
    return _Rows(flat, np.uint64(x.stride(0)), np.uint64(x.stride(1)))


def _chunks(indptr: np.ndarray, width: int) -> list[int]:
    """Row boundaries of chunks of about equal work; a function of the graph and the width only."""
    num_rows = len(indptr) - 1
    cost = indptr + np.arange(num_rows + 1)  # an empty row costs as much as an edge
    num_chunks = int(min(MAX_CHUNKS, max(1, num_rows), 1 + cost[-1] * (width + 8) // CHUNK_WORK))
    return row_chunks(cost, num_chunks)


def _graph(indptr: Tensor | None, source: Tensor, num_nodes: int) -> tuple[np.ndarray, np.ndarray]:
    """Row offsets and flat sources of a CSR graph or of a table (indptr None, source [N, K])."""
    if indptr is None:
        offsets = np.arange(num_nodes + 1, dtype=np.int64) * source.shape[1]
    else:
        offsets = indptr.numpy()
    return offsets, source.flatten().numpy()


def _tables(type_scale: Tensor, type_bias: Tensor, temperature: float) -> tuple[np.ndarray, np.ndarray]:
    C = type_scale.shape[2]
    scale = type_scale.detach().double() / (C**0.5 * temperature)
    bias = type_bias.detach().double() / temperature
    return scale.float().flatten().numpy(), bias.float().flatten().numpy()


def _out_of_range(source: np.ndarray, edge_type: np.ndarray, num_sources: int, num_types: int) -> str:
    wrong = (source < -1) | (source >= num_sources) | (edge_type < 0) | (edge_type >= num_types)
    bad = int(wrong.argmax())
    return (
        f'edge {bad} has source {source[bad]} and type {edge_type[bad]}; '
        f'sources must lie in [0, {num_sources}) and types in [0, {num_types})'
    )


def _optional(x: Tensor | None, dtype: torch.dtype) -> np.ndarray:
    return torch.zeros(0, dtype=dtype).numpy() if x is None else x.detach().to(dtype).flatten().numpy()


def forward(inputs: AttentionInputs, want_weights: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Output [N, H, C], log-sum-exp [N, H] of logit / temperature, weights (flat, empty unless wanted)."""
    query, key, value, type_scale, type_bias, edge_bias, indptr, source, edge_type = inputs[:9]
    temperature, logit_clamp = inputs.temperature, inputs.logit_clamp
    N, H, C = query.shape
    T = type_scale.shape[0]
    out, lse = query.new_empty(N, H, C), query.new_empty(N, H)
    weights = query.new_empty(source.numel() * H if want_weights else 0)
    offsets, flat_source = _graph(indptr, source, N)
    bounds = _chunks(offsets, H * C)
    graph = (offsets, flat_source, edge_type.flatten().numpy(), key.shape[0], T, key.numel() > CACHED_ROWS)
    rows = (*_rows(query), *_rows(key), *_rows(value))
    numbers = (
        *_tables(type_scale, type_bias, temperature),
        _optional(edge_bias, torch.float32),
        np.float32(1 / temperature),
        np.float32(logit_clamp or np.inf),
        H,
        C,
    )
    results = (out.view(-1).numpy(), lse.view(-1).numpy(), weights.numpy())

    def work(chunk: int) -> None:
        if not numba_kernels.forward(bounds[chunk], bounds[chunk + 1], *graph, *rows, *numbers, *results):
            raise IndexError(_out_of_range(flat_source, graph[2], key.shape[0], T))

    run_chunks(work, len(bounds) - 1)
    return out, lse, weights


def backward(
    grad: Tensor,
    out: Tensor,
    lse: Tensor,
    inputs: AttentionInputs,
    transpose: OutNeighbors | None,
    want_edge_grad: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Gradients of query, key, value, type_scale, type_bias and (flat, empty unless wanted) edge_bias.

    The transpose is made here where it is None; with an edge bias it needs `edge_id`.
    """
    query, key, value, type_scale, type_bias, edge_bias, indptr, source, edge_type = inputs[:9]
    temperature, logit_clamp = inputs.temperature, inputs.logit_clamp
    N, H, C = query.shape
    M, T = key.shape[0], type_scale.shape[0]
    offsets, flat_source = _graph(indptr, source, N)
    flat_type = edge_type.flatten().numpy()
    if transpose is None:
        transpose = make_transpose(indptr, source, edge_type, M, T, with_edge_id=edge_bias is not None)
    edge_id = transpose.target[:0] if transpose.edge_id is None else transpose.edge_id
    out_arrays = (transpose.indptr, transpose.target, transpose.edge_type, edge_id)
    out_offsets, out_target, out_type, out_edge_id = (x.numpy() for x in out_arrays)

    rows = (*_rows(query), *_rows(key), *_rows(value), *_rows(grad))
    numbers = (
        *_tables(type_scale, type_bias, temperature),
        _optional(edge_bias, torch.float32),
        np.float32(1 / temperature),
        np.float32(logit_clamp or np.inf),
        H,
        C,
    )
    delta = np.empty(N * H, np.float32)
    flat_lse = lse.view(-1).numpy()
    grad_query = query.new_empty(N, H, C)
    grad_key, grad_value = query.new_empty(M, H, C), query.new_empty(M, H, C)
    grad_edge = query.new_zeros(source.numel() * H if want_edge_grad else 0)

    ahead = key.numel() > CACHED_ROWS
    bounds = _chunks(offsets, H * C)
    grad_scale = np.zeros((len(bounds) - 1, T * H * C))
    grad_bias = np.zeros((len(bounds) - 1, T * H))
    out_flat = out.view(-1).numpy()
    row_results = (delta, grad_query.view(-1).numpy(), grad_edge.numpy())

    def work_rows(chunk: int) -> None:
        numba_backward.backward_rows(
            bounds[chunk], bounds[chunk + 1], offsets, flat_source, flat_type, M, T, ahead,
            *rows, *numbers,
            out_flat, flat_lse, *row_results, grad_scale[chunk], grad_bias[chunk],
        )  # fmt: skip

    run_chunks(work_rows, len(bounds) - 1)

    out_bounds = _chunks(out_offsets, H * C)
    column_results = (flat_lse, delta, grad_key.view(-1).numpy(), grad_value.view(-1).numpy())

    def work_columns(chunk: int) -> None:
        numba_backward.backward_columns(
            out_bounds[chunk], out_bounds[chunk + 1], out_offsets, out_target, out_type, out_edge_id, T,
            query.numel() > CACHED_ROWS, *rows, *numbers, *column_results,
        )  # fmt: skip

    run_chunks(work_columns, len(out_bounds) - 1)
    table_scale = torch.from_numpy(grad_scale.sum(0) / (C**0.5 * temperature)).view(T, H, C)
    table_bias = torch.from_numpy(grad_bias.sum(0) / temperature).view(T, H)
    return grad_query, grad_key, grad_value, table_scale.float(), table_bias.float(), grad_edge
