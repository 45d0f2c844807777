"""The implementations that keep nothing of size E * C, behind one pair of functions."""

from __future__ import annotations

from types import ModuleType

from torch import Tensor

from graphgps_ext.graph import OutNeighbors
from graphgps_ext.ops import numba_impl
from graphgps_ext.ops.inputs import AttentionInputs
from graphgps_ext.ops.transpose import transpose as make_transpose


def _module(implementation: str) -> ModuleType:
    if implementation == 'numba':
        return numba_impl
    from graphgps_ext.ops import triton_impl  # imported when used: builds of torch without CUDA lack Triton

    return triton_impl


def forward(
    inputs: AttentionInputs, want_weights: bool, implementation: str
) -> tuple[Tensor, Tensor, Tensor | None]:
    """(output [N, H, C], log-sum-exp [N, H], weights [E * H] if wanted)."""
    return _module(implementation).forward(inputs, want_weights)


def backward(
    grad: Tensor,
    out: Tensor,
    lse: Tensor,
    inputs: AttentionInputs,
    transpose: OutNeighbors | None,
    want_edge_grad: bool,
    implementation: str,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor | None]:
    """Gradients of query, key, value, type_scale, type_bias and, if wanted, edge_bias (flat).

    A transpose that is missing, or lacks the `edge_id` that an edge bias needs, is made.
    """
    with_edge_id = inputs.edge_bias is not None
    if transpose is None or (with_edge_id and transpose.edge_id is None):
        sizes = inputs.key.shape[0], inputs.type_scale.shape[0]
        graph = (inputs.indptr, inputs.source, inputs.edge_type, *sizes)
        transpose = make_transpose(*graph, with_edge_id=with_edge_id)
    arguments = (grad, out, lse, inputs, transpose, want_edge_grad)
    return _module(implementation).backward(*arguments)
