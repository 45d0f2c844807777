"""What every implementation of the attention operator is given."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class AttentionInputs(NamedTuple):
    """The arguments of :func:`graphgps_ext.ops.sparse_attention` as flat tensors, divided by the temperature.

    Args:
        query: [N, H, C].
        key: [M, H, C].
        value: [M, H, C].
        type_scale: [T, H, C] in the dtype of the computation: float64 for such inputs, else float32.
        type_bias: [T, H] in the same dtype.
        edge_bias: optional [E, H] or [N, K, H].
        indptr: [N + 1] int64, or None for a table.
        source: [E], or [N, K] with -1 in empty slots.
        edge_type: int8 in the shape of `source`.
        logit_clamp: 0 = none.
    """

    query: Tensor
    key: Tensor
    value: Tensor
    type_scale: Tensor
    type_bias: Tensor
    edge_bias: Tensor | None
    indptr: Tensor | None
    source: Tensor
    edge_type: Tensor
    logit_clamp: float
