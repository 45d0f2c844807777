"""The transformer block of every network here: sparse attention, then a feed-forward block."""

from __future__ import annotations

from torch import Tensor, nn

from graphgps_ext.layer.attention import SparseAttention
from graphgps_ext.layer.norm import build_norm
from graphgps_ext.ops import Implementation, InNeighbors, NeighborTable


class SparseTransformerBlock(nn.Module):
    """Sparse attention and a feed-forward block of width 2d, each with dropout, residual and norm.

    Args:
        hidden_channels: d.
        heads: H.
        dropout: probability, after the attention and twice in the feed-forward block.
        norm: 'batch', 'graph', 'layer' or None.
        residual: add the input of each half to its output.
        normalize_values, logit_clamp, implementation: see :class:`SparseAttention`.
    """

    def __init__(
        self,
        hidden_channels: int,
        heads: int,
        *,
        dropout: float = 0.0,
        norm: str | None = 'batch',
        residual: bool = True,
        normalize_values: bool = False,
        logit_clamp: float = 0.0,
        implementation: Implementation | None = None,
    ) -> None:
        super().__init__()
        self.residual = residual
        self.attention = SparseAttention(
            hidden_channels,
            heads,
            normalize_values=normalize_values,
            logit_clamp=logit_clamp,
            implementation=implementation,
        )
        self.dropout = nn.Dropout(dropout)
        self.norm_attention = build_norm(norm, hidden_channels)
        self.feed_forward = nn.Sequential(
            nn.Linear(hidden_channels, 2 * hidden_channels),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(2 * hidden_channels, hidden_channels),
            nn.Dropout(dropout),
        )
        self.norm_feed_forward = build_norm(norm, hidden_channels)

    def forward(
        self,
        x: Tensor,
        neighbors: InNeighbors | NeighborTable,
        type_embedding: Tensor,
        *,
        temperature: float = 1.0,
        edge_embedding: Tensor | None = None,
        return_weights: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """[M, d] to [N, d], and the attention weights if asked for; arguments as in SparseAttention."""
        attended, weights = self.attention(
            x,
            neighbors,
            type_embedding,
            temperature=temperature,
            edge_embedding=edge_embedding,
            return_weights=return_weights,
        )
        h = self.dropout(attended)
        if self.residual:
            h = h + x[: neighbors.num_nodes]
        h = self.norm_attention(h)
        out = self.feed_forward(h)
        if self.residual:
            out = out + h
        return self.norm_feed_forward(out), weights
