"""Multi-head attention over the typed edges of a sparse graph."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from graphgps_ext.graph import Graph
from graphgps_ext.ops import Implementation, sparse_attention

VALUE_SCALE_START = 0.25


class SparseAttention(nn.Module):
    """Attention of each node over its in-neighbours, with one multiplier and one bias per edge type.

    Exphormer (Shirzad et al., ICML 2023), with the estimator's normalised values as an option
    (Spexphormer, NeurIPS 2024, section 4.1). The formula stands at :func:`graphgps_ext.ops.sparse_attention`.

    Args:
        hidden_channels: d = H·C, width of input and output.
        heads: H.
        normalize_values: scale value vectors to unit length times one learned scalar, so that a weight says
            how much a neighbour matters rather than how long its value vector is.
        logit_clamp: clamp of logit/temperature, 0.0 = none.
        implementation: of the operator; None chooses by device.

    Raises:
        ValueError: if `heads` does not divide `hidden_channels`.
    """

    def __init__(
        self,
        hidden_channels: int,
        heads: int,
        *,
        normalize_values: bool = False,
        logit_clamp: float = 0.0,
        implementation: Implementation | None = None,
    ) -> None:
        super().__init__()
        if heads < 1 or hidden_channels % heads:
            raise ValueError(
                f'hidden_channels needs to be a multiple of heads, got {hidden_channels} and {heads} '
                f'(set gt.dim_hidden or gt.n_heads)'
            )
        self.heads = heads
        self.normalize_values = normalize_values
        self.logit_clamp = logit_clamp
        self.implementation = implementation
        self.lin_query = nn.Linear(hidden_channels, hidden_channels, bias=False)
        self.lin_key = nn.Linear(hidden_channels, hidden_channels, bias=False)
        self.lin_value = nn.Linear(hidden_channels, hidden_channels, bias=False)
        self.lin_type_scale = nn.Linear(hidden_channels, hidden_channels, bias=False)
        # No bias: one constant for all types cancels in the soft-max.
        self.lin_type_bias = nn.Linear(hidden_channels, heads, bias=False)
        if normalize_values:
            self.value_scale = nn.Parameter(torch.tensor(VALUE_SCALE_START))

    def reset_parameters(self) -> None:
        """Draws new weights, as a new layer has them."""
        for part in self.children():
            part.reset_parameters()  # type: ignore[operator]
        if self.normalize_values:
            nn.init.constant_(self.value_scale, VALUE_SCALE_START)

    def extra_repr(self) -> str:
        """For `print`: the options beside the linear maps."""
        return (
            f'heads={self.heads}, normalize_values={self.normalize_values}, logit_clamp={self.logit_clamp}, '
            f'implementation={self.implementation}'
        )

    def forward(
        self,
        x: Tensor,
        neighbors: Graph,
        type_embedding: Tensor,
        *,
        temperature: float | Tensor = 1.0,
        edge_embedding: Tensor | None = None,
        return_weights: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """Attends from the first N rows of `x` to all M.

        Args:
            x: [M, d], nodes of this layer; targets are the first N = `neighbors.num_nodes` rows.
            neighbors: the in-neighbours of each target.
            type_embedding: [T, d], embedding of each edge type.
            temperature: τ of the soft-max; a tensor [] on the device of `x` may change under a CUDA graph.
            edge_embedding: [E, d] or [N, K, d], encoded features of each edge, where the graph has them.
            return_weights: also return the attention weights.

        Returns:
            [N, d], and the weights [E, H] or [N, K, H] (None unless asked for; no gradient).
        """
        shape = (-1, self.heads, x.shape[-1] // self.heads)
        query = self.lin_query(x[: neighbors.num_nodes]).view(shape)
        key = self.lin_key(x).view(shape)
        value = self.lin_value(x)
        if self.normalize_values:
            value = F.normalize(value, dim=-1) * self.value_scale
        edge_bias = None if edge_embedding is None else self.lin_type_bias(edge_embedding)
        out = sparse_attention(
            query,
            key,
            value.view(shape),
            neighbors,
            self.lin_type_scale(type_embedding).view(shape),
            self.lin_type_bias(type_embedding),
            temperature=temperature,
            logit_clamp=self.logit_clamp,
            edge_bias=edge_bias,
            return_weights=return_weights,
            implementation=self.implementation,
        )
        attended, weights = out if isinstance(out, tuple) else (out, None)
        return attended.flatten(1), weights
