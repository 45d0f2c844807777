"""The attention operator on CPU cores: hands tensors to the numba kernels, chunk by chunk.

Chunks of rows depend on the graph only and every sum across chunks runs in float64 in chunk order, so results
are bit-equal for every number of threads. The backward pass recomputes the weights from the log-sum-exp; the
gradients of keys and values go through the transposed graph, one writer per row.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from graphgps_ext.graph import OutNeighbors
from graphgps_ext.ops import numba_backward, numba_kernels
from graphgps_ext.ops.inputs import AttentionInputs
from graphgps_ext.ops.numba_kernels import Formula, Graph, Rows
from graphgps_ext.ops.numba_threads import row_chunks, run_chunks

# Multiplications per chunk. In bench_attention.py's rows "stage 1: Tolokers, 1 x 4" and "stage 2: 50,000 x
# 10, 4 x 16" 2^14 takes 1.2 to 1.5 times as long; from 2^16 to 2^22 times are equal within the noise. 2^18
# makes 65 chunks of the former, enough for many threads, each of 0.1 to 0.2 ms, of which the call takes 2
# us.
CHUNK_WORK = 2**18
# Bounds the memory of the tables' gradients, of which each chunk has its own in float64. In the same rows 32
# and no bound at all are as fast.
MAX_CHUNKS = 128
# Numbers of the keys (or queries) above which rows are asked for early. Tables of 10 slots, forward and
# backward with it against without: 1 x 4 channels 1.15 times at 2^16, 1.04 at 2^17, 0.83 at 2^18; 4 x 16
# channels 1.12 at 2^17, 1.08 at 2^18, 0.98 at 2^19, 0.88 in "stage 2: 50,000 x 10, 4 x 16".
CACHED_ROWS = 2**17


def _rows(x: Tensor) -> tuple[Any, ...]:
    x = x.detach().flatten(1)  # a copy only where the C of a head or the heads of a row lie apart
    if x.stride(1) != 1 and x.shape[1] > 1:
        x = x.contiguous()
    extent = (x.shape[0] - 1) * x.stride(0) + x.shape[1] if x.numel() else 0
    return tuple(Rows(x.as_strided((extent,), (1,), x.storage_offset()).numpy(), np.uint64(x.stride(0))))


def _chunks(indptr: np.ndarray, width: int) -> list[int]:
    """Row boundaries of chunks of about equal work; a function of the graph and the width only."""
    num_rows = len(indptr) - 1
    cost = indptr + np.arange(num_rows + 1)  # an empty row costs as much as an edge
    num_chunks = int(min(MAX_CHUNKS, max(1, num_rows), 1 + cost[-1] * (width + 8) // CHUNK_WORK))
    return row_chunks(cost, num_chunks)


def _graph(inputs: AttentionInputs) -> Graph:
    """The in-edges; a table has rows of equal length."""
    N, T = inputs.query.shape[0], inputs.type_scale.shape[0]
    if inputs.indptr is None:
        indptr = np.arange(N + 1, dtype=np.int64) * inputs.source.shape[1]
    else:
        indptr = inputs.indptr.numpy()
    source, edge_type = inputs.source.flatten().numpy(), inputs.edge_type.flatten().numpy()
    return Graph(indptr, source, edge_type, inputs.key.shape[0], T, inputs.key.numel() > CACHED_ROWS)


def _formula(inputs: AttentionInputs) -> tuple[Any, ...]:
    _, H, C = inputs.query.shape
    tensors = (
        inputs.type_scale.double() / C**0.5,
        inputs.type_bias,
        torch.empty(0) if inputs.edge_bias is None else inputs.edge_bias,
    )
    scale, bias, edge_bias = (x.detach().float().flatten().numpy() for x in tensors)
    return tuple(Formula(scale, bias, edge_bias, np.float32(inputs.logit_clamp or np.inf), H, C))


def _out_of_range(graph: Graph) -> str:
    source, kind = graph.other, graph.edge_type
    wrong = (source < -1) | (source >= graph.num_others) | (kind < 0) | (kind >= graph.num_types)
    bad = int(wrong.argmax())
    return (
        f'edge {bad} has source {source[bad]} and type {kind[bad]}; '
        f'sources must lie in [0, {graph.num_others}) and types in [0, {graph.num_types})'
    )


def forward(inputs: AttentionInputs, want_weights: bool) -> tuple[Tensor, Tensor, Tensor | None]:
    """Output [N, H, C], log-sum-exp [N, H], weights (flat, if wanted)."""
    query = inputs.query
    N, H, C = query.shape
    out, lse = query.new_empty(N, H, C), query.new_empty(N, H)
    weights = query.new_empty(inputs.source.numel() * H if want_weights else 0)
    graph = _graph(inputs)
    bounds = _chunks(graph.indptr, H * C)
    rows = (_rows(query), _rows(inputs.key), _rows(inputs.value))
    arguments = (tuple(graph), *rows, _formula(inputs))
    results = (out.view(-1).numpy(), lse.view(-1).numpy(), weights.numpy())

    def work(chunk: int) -> None:
        if not numba_kernels.forward(bounds[chunk], bounds[chunk + 1], *arguments, *results):
            raise IndexError(_out_of_range(graph))

    run_chunks(work, len(bounds) - 1)
    return out, lse, weights if want_weights else None


def backward(
    grad: Tensor,
    out: Tensor,
    lse: Tensor,
    inputs: AttentionInputs,
    transpose: OutNeighbors,
    want_edge_grad: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor | None]:
    """Gradients of query, key, value, type_scale, type_bias and (flat, if wanted) edge_bias.

    With an edge bias the transpose needs `edge_id`.
    """
    query = inputs.query
    N, H, C = query.shape
    M, T = inputs.key.shape[0], inputs.type_scale.shape[0]
    rows = (_rows(query), _rows(inputs.key), _rows(inputs.value), _rows(grad))
    arguments = (*rows, _formula(inputs))
    delta = np.empty(N * H, np.float32)
    grad_query = query.new_empty(N, H, C)
    grad_key, grad_value = query.new_empty(M, H, C), query.new_empty(M, H, C)
    grad_edge = query.new_zeros(inputs.source.numel() * H if want_edge_grad else 0)

    graph = _graph(inputs)
    bounds = _chunks(graph.indptr, H * C)
    grad_scale = np.zeros((len(bounds) - 1, T * H * C))
    grad_bias = np.zeros((len(bounds) - 1, T * H))
    row_inputs = (tuple(graph), *arguments, out.view(-1).numpy(), lse.view(-1).numpy())
    row_results = (delta, grad_query.view(-1).numpy(), grad_edge.numpy())

    def work_rows(chunk: int) -> None:
        shares = grad_scale[chunk], grad_bias[chunk]
        numba_backward.backward_rows(bounds[chunk], bounds[chunk + 1], *row_inputs, *row_results, *shares)

    run_chunks(work_rows, len(bounds) - 1)

    edge_id = transpose.target[:0] if transpose.edge_id is None else transpose.edge_id
    out_indptr, target, out_type = (
        x.numpy() for x in (transpose.indptr, transpose.target, transpose.edge_type)
    )
    out_graph = Graph(out_indptr, target, out_type, N, T, query.numel() > CACHED_ROWS)
    out_bounds = _chunks(out_graph.indptr, H * C)
    column_inputs = (tuple(out_graph), edge_id.numpy(), *arguments, lse.view(-1).numpy(), delta)
    column_results = (grad_key.view(-1).numpy(), grad_value.view(-1).numpy())

    def work_columns(chunk: int) -> None:
        begin, end = out_bounds[chunk], out_bounds[chunk + 1]
        numba_backward.backward_columns(begin, end, *column_inputs, *column_results)

    run_chunks(work_columns, len(out_bounds) - 1)
    table_scale = torch.from_numpy(grad_scale.sum(0) / C**0.5).view(T, H, C)
    table_bias = torch.from_numpy(grad_bias.sum(0)).view(T, H)
    grads = grad_query, grad_key, grad_value, table_scale.float(), table_bias.float()
    return *grads, grad_edge if want_edge_grad else None
