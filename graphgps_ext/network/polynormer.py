"""Polynormer as published, of PyG's parts, as a network for GraphGym."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch_geometric.graphgym.config import cfg
from torch_geometric.graphgym.register import register_network
from torch_geometric.nn.attention import PolynormerAttention
from torch_geometric.nn.models import Polynormer
from torch_geometric.utils import add_self_loops

from graphgps_ext.layer.dropout import dropout
from graphgps_ext.network.plain import PLAIN, PlainNetwork, class_logits, num_classes, refuse_unless_divisible


class PublishedPolynormer(Polynormer):
    """PyG's Polynormer with what the published code has and PyG 2.8 does not.

    That is a linear map and dropout before the first layer, a β of each layer and channel that is learned,
    biases of keys and values, one output map for all layers of global attention, and a global attention as
    wide as all heads (PyG's has the width of one, and fails with more). Batch norm, which PyG's has after
    each convolution, is not in the published code.

    Args:
        in_channels: F.
        channels: d, of all heads together; a multiple of `heads`.
        out_channels: number of classes.
        heads: H.
        global_layers: of linear attention.
        global_dropout: after each of them.
        beta: where β starts; if negative, β is the sigmoid of what is learned, which starts near 0.
        kwargs: of PyG's; its `dropout` is also that after the first map.

    Source: Deng et al., arXiv 2403.01232, section 3, and the code published with it.
    """

    def __init__(
        self,
        in_channels: int,
        channels: int,
        out_channels: int,
        *,
        heads: int,
        global_layers: int,
        global_dropout: float,
        beta: float,
        **kwargs: Any,
    ) -> None:
        width = channels // heads
        super().__init__(channels, width, out_channels, global_layers=0, heads=heads, beta=beta, **kwargs)
        self.lin_in = nn.Linear(in_channels, channels)
        lin_out = nn.Linear(channels, channels)
        for _ in range(global_layers):
            attention = PolynormerAttention(channels, heads, width, qkv_bias=True, dropout=global_dropout)
            attention.lin_out = lin_out
            self.global_attn.append(attention)
        num_layers = len(self.local_convs) + global_layers
        self.betas = nn.Parameter(torch.full((num_layers, channels), beta))
        if beta < 0:
            nn.init.xavier_normal_(self.betas)

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:  # type: ignore[override]
        """[N, F] and [2, E] with self-loops to logits [N, out_channels]."""
        betas = self.betas.sigmoid() if self.beta < 0 else self.betas
        x = dropout(self.lin_in(x), self.dropout, self.training)
        x_local = torch.zeros((), device=x.device)
        for i, conv in enumerate(self.local_convs):
            h = self.h_lins[i](x).relu()
            x = conv(x, edge_index) + self.lins[i](x)
            if self.post_bn:
                x = self.post_bns[i](x)
            x = dropout(x.relu(), self.dropout, self.training)
            x = (1 - betas[i]) * self.lns[i](h * x) + betas[i] * x
            x_local = x_local + x
        if not self._global:
            return self.pred_local(x_local)
        x = self.ln(x_local)[None]  # of one graph
        for attention, beta in zip(self.global_attn, betas[len(self.local_convs) :], strict=True):
            attention.beta = beta
            x = attention(x)
            attention.beta = self.beta  # a tensor with a history would forbid copies of the module
        return self.pred_global(x[0])


class PolynormerNetwork(PlainNetwork):
    """Polynormer, which trains its local part alone for some epochs before the global one joins.

    Its local attention has no self-loops of its own: they are added to the edges, as in the published code.

    How many is said by `gt.local_epochs`.
    """

    def __init__(self, model: PublishedPolynormer) -> None:
        super().__init__(model, lambda edge_index, x: (add_self_loops(edge_index, num_nodes=len(x))[0],))
        self.local_epochs = cfg.gt.local_epochs
        self.start_epoch(0)

    def changes_phase(self, epoch: int) -> bool:
        """Whether the global attention joins a trained local one in this epoch."""
        return epoch == self.local_epochs > 0

    def start_epoch(self, epoch: int) -> None:
        """Says which epoch begins; the recipe calls it."""
        self.model._global = epoch >= self.local_epochs  # type: ignore[assignment]

    def predict(self, x: Tensor, *edges: Tensor | None) -> Tensor:
        """[N, F], and what is made of the edges, to logits [N, dim_out]."""
        return class_logits(self.model(x, *edges))

    def get_extra_state(self) -> dict[str, bool]:
        """The phase belongs to the checkpoint: the best epoch is evaluated as it was trained."""
        return {'global': bool(self.model._global)}

    def set_extra_state(self, state: dict[str, bool]) -> None:
        """Restores the phase of a checkpoint."""
        self.model._global = state['global']  # type: ignore[assignment]


@register_network('pyg_polynormer')
@replace(PLAIN, phases=True)
def build_polynormer(dim_in: int, dim_out: int) -> PlainNetwork:
    """Polynormer of PyG's parts: `gnn.layers_mp` of GAT, then `gt.layers` of linear attention.

    Deng et al., arXiv 2403.01232. `gt.dim_hidden` is the width of all heads together. The global attention
    joins after `gt.local_epochs`, then training goes on from the best epoch so far. As published it has no
    batch norm (`gt.batch_norm False`).
    """
    refuse_unless_divisible('gt.dim_hidden', 'gt.n_heads')
    model = PublishedPolynormer(
        dim_in,
        cfg.gt.dim_hidden,
        num_classes(dim_out),
        heads=cfg.gt.n_heads,
        global_layers=cfg.gt.layers,
        global_dropout=cfg.gt.dropout,
        beta=cfg.gt.beta,
        local_attn=True,
        local_layers=cfg.gnn.layers_mp,
        dropout=cfg.gnn.dropout,
        post_bn=cfg.gt.batch_norm,
    )
    return PolynormerNetwork(model)
