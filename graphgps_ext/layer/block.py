"""The transformer block of every network here: sparse attention, then a feed-forward block."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from graphgps_ext.graph import Graph
from graphgps_ext.layer.attention import SparseAttention
from graphgps_ext.layer.local import LocalBranch
from graphgps_ext.layer.norm import build_norm


class SparseTransformerBlock(nn.Module):
    """Sparse attention and a feed-forward block of width 2d, each with dropout, residual and norm.

    In short, with f the feed-forward block, and `local` and `W` where they are asked for:

        norm after:  h = norm(drop(attention(x) + local(x)) + W x + x),  out = norm(f(h) + h)
        norm before: z = norm(x),  h = drop(attention(z) + local(z)) + W z + x,  out = f(norm(h)) + h

    Without a feed-forward block a ReLU and one dropout stand in its place, as in deep classic networks
    (Luo, Shi, Wu 2024, "Classic GNNs are strong baselines"):

        norm after:  out = drop(ReLU(norm(attention(x) + local(x) + W x + x)))
        norm before: z = norm(x),  out = drop(ReLU(attention(z) + local(z) + W z)) + x

    Args:
        hidden_channels: d.
        heads: H.
        dropout: probability, after the attention and twice in the feed-forward block.
        norm: 'batch', 'graph', 'layer' or None.
        residual: add the input of each half to its output.
        pre_norm: normalise the input of each half rather than its output.
        linear_skip: add a linear map W of the attention's input to its output.
        feed_forward: have a feed-forward block.
        local: kind of :class:`LocalBranch`, or None.
        kwargs: of :class:`SparseAttention`.
    """

    def __init__(
        self,
        hidden_channels: int,
        heads: int,
        *,
        dropout: float = 0.0,
        norm: str | None = 'batch',
        residual: bool = True,
        pre_norm: bool = False,
        linear_skip: bool = False,
        feed_forward: bool = True,
        local: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__()
        self.residual = residual
        self.pre_norm = pre_norm
        self.attention = SparseAttention(hidden_channels, heads, **kwargs)
        self.dropout = nn.Dropout(dropout)
        self.norm_attention = build_norm(norm, hidden_channels)
        self.linear_skip = nn.Linear(hidden_channels, hidden_channels) if linear_skip else None
        self.local = LocalBranch(local, hidden_channels, heads=heads) if local else None
        self.feed_forward = None
        if feed_forward:
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
        neighbors: Graph,
        type_embedding: Tensor,
        *,
        local_edges: tuple[Tensor | None, ...] | None = None,
        **kwargs: Any,
    ) -> tuple[Tensor, Tensor | None]:
        """[M, d] to [N, d], and the attention weights if asked for.

        `local_edges` are the local branch's (see :class:`LocalBranch`), all else as in SparseAttention.
        """
        z = self.norm_attention(x) if self.pre_norm else x
        h, weights = self.attention(z, neighbors, type_embedding, **kwargs)
        if self.local is not None:
            h = h + self.local(z, neighbors, local_edges)
        if self.feed_forward is not None:
            h = self.dropout(h)
        if self.linear_skip is not None:
            h = h + self.linear_skip(z[: neighbors.num_nodes])
        x = x[: neighbors.num_nodes]  # here: made earlier, it would change in which order gradients add up
        return (self._norm_before if self.pre_norm else self._norm_after)(h, x), weights

    def _norm_after(self, h: Tensor, x: Tensor) -> Tensor:
        h = self.norm_attention(self._residual(h, x))
        if self.feed_forward is None:
            return self.dropout(h.relu())
        return self.norm_feed_forward(self._residual(self.feed_forward(h), h))

    def _norm_before(self, h: Tensor, x: Tensor) -> Tensor:
        if self.feed_forward is None:
            return self._residual(self.dropout(h.relu()), x)
        h = self._residual(h, x)
        return self._residual(self.feed_forward(self.norm_feed_forward(h)), h)

    def _residual(self, h: Tensor, x: Tensor) -> Tensor:
        return h + x if self.residual else h
