"""PyG's transformers with attention between all nodes, as networks for GraphGym."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch_geometric.graphgym.config import cfg
from torch_geometric.graphgym.register import register_network
from torch_geometric.nn import GCNConv, GPSConv
from torch_geometric.nn.models import SGFormer
from torch_geometric.nn.models.sgformer import SGModule

from graphgps_ext.errors import ConfigError
from graphgps_ext.layer.adjacency import normalized_adjacency
from graphgps_ext.layer.dropout import dropout
from graphgps_ext.network.plain import (
    PLAIN,
    PlainNetwork,
    class_logits,
    norm_arguments,
    num_classes,
    refuse_unless_divisible,
)


@contextmanager
def without_fast_path() -> Iterator[None]:
    """Keeps torch's multi-head attention from its inference kernel, which on a CPU writes out all N² weights.

    On 10,000 nodes with 4 heads it takes 3 GB, and three times the time of the kernel used in training.
    """
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


class OneGraphGPSConv(GPSConv):
    """PyG's `GPSConv` on one graph, where no node is padding.

    PyG's pads graphs to one size and takes the padding out again, for which it waits for the device.
    """

    def forward(self, x: Tensor, edge_index: Tensor, batch: None = None, **kwargs: Any) -> Tensor:
        """[N, d] to [N, d]; `kwargs` are of the local part."""
        local = self.conv(x, edge_index, **kwargs)
        out = self._normed(self.norm1, dropout(local, self.dropout, self.training) + x)
        nodes = x[None]
        if isinstance(self.attn, nn.MultiheadAttention):
            attended, _ = self.attn(nodes, nodes, nodes, need_weights=False)
        else:
            attended = self.attn(nodes)
        attended = dropout(attended[0], self.dropout, self.training) + x
        out = out + self._normed(self.norm2, attended)
        return self._normed(self.norm3, out + self.mlp(out))

    @staticmethod
    def _normed(norm: nn.Module | None, x: Tensor) -> Tensor:
        return x if norm is None else norm(x)


class GPS(nn.Module):
    """Linear map, L layers of PyG's `GPSConv` with a GCN as the local part, linear map.

    Args:
        in_channels: F.
        channels: d.
        out_channels: number of outputs.
        num_layers: L.
        kwargs: of `GPSConv`.
    """

    def __init__(
        self, in_channels: int, channels: int, out_channels: int, num_layers: int, **kwargs: Any
    ) -> None:
        super().__init__()
        self.lin_in = nn.Linear(in_channels, channels)
        self.layers = nn.ModuleList(
            OneGraphGPSConv(channels, GCNConv(channels, channels, normalize=False), **kwargs)
            for _ in range(num_layers)
        )
        self.lin_out = nn.Linear(channels, out_channels)

    def forward(self, x: Tensor, edge_index: Tensor, edge_weight: Tensor | None) -> Tensor:
        """[N, F] and what `normalized_adjacency` gives to [N, out_channels]."""
        x = self.lin_in(x)
        with without_fast_path():
            for layer in self.layers:
                x = layer(x, edge_index, edge_weight=edge_weight)
        return self.lin_out(x)


class OneGraphAttention(SGModule):
    """SGFormer's global attention on one graph, where no node is padding.

    PyG's sorts the nodes by graph and pads graphs to one size, for which it waits for the device.
    """

    def forward(self, x: Tensor, batch: None) -> Tensor:
        """[N, F] to [N, d]."""
        x = self._dropped(self.bns[0](self.fcs[0](x[None])).relu())
        for attention, norm in zip(self.attns, self.bns[1:], strict=True):
            x = self._dropped(norm((attention(x) + x) / 2).relu())
        return x[0]

    def _dropped(self, x: Tensor) -> Tensor:
        return dropout(x, self.dropout, self.training)


class SGFormerNetwork(PlainNetwork):
    """PyG's SGFormer, which takes a batch vector and returns log-probabilities of classes.

    The adjacency of its GCN is normalised once, not in every layer.
    """

    def __init__(self, model: SGFormer) -> None:
        super().__init__(model, normalized_adjacency)
        for conv in model.graph_conv.convs:
            conv.normalize = False

    def predict(self, x: Tensor, *edges: Tensor | None) -> Tensor:
        """[N, F], and what `normalized_adjacency` gives, to logits [N, dim_out]."""
        with x.device:  # PyG makes a tensor of ones on the CPU otherwise, and copies it
            return class_logits(self.model(x, edges[0], None))


@register_network('pyg_gps')
@PLAIN
def build_gps(dim_in: int, dim_out: int) -> PlainNetwork:
    """GPS (PyG's `GPSConv` with a GCN as the local part); `gt.attn_type` multihead or performer.

    Rampášek et al., arXiv 2205.12454. Attention between all pairs of nodes (multihead) takes time in N².

    Raises:
        ValueError: if a head of Performer attention has one channel: PyG's has no random feature then.
    """
    performer = cfg.gt.attn_type == 'performer'
    if performer and cfg.gt.dim_hidden // cfg.gt.n_heads < 2:
        raise ConfigError(
            f'gt.attn_type performer needs at least 2 channels per head, got gt.dim_hidden '
            f'{cfg.gt.dim_hidden} and gt.n_heads {cfg.gt.n_heads} (set gt.n_heads)'
        )
    refuse_unless_divisible('gt.dim_hidden', 'gt.n_heads')
    # head_channels None: the width shared by the heads. The kernel's default is one module of all networks in
    # a process, which one of them may have left in evaluation mode.
    of_performer = {'head_channels': None, 'kernel': nn.ReLU()}
    model = GPS(
        dim_in,
        cfg.gt.dim_hidden,
        dim_out,
        cfg.gt.layers,
        heads=cfg.gt.n_heads,
        dropout=cfg.gt.dropout,
        attn_type=cfg.gt.attn_type,
        attn_kwargs=of_performer if performer else None,
        **norm_arguments(),
    )
    return PlainNetwork(model, normalized_adjacency)


@register_network('pyg_sgformer')
@PLAIN
def build_sgformer(dim_in: int, dim_out: int) -> PlainNetwork:
    """SGFormer (PyG's `SGFormer`): `gt.layers` of linear attention beside `gnn.layers_mp` of GCN.

    Wu et al., arXiv 2306.10759; the sum of both has `gt.graph_weight` for the GCN. PyG's GCN always has batch
    norm; `gt.batch_norm False` takes it out, for graphs of few labels.
    """
    model = SGFormer(
        dim_in,
        cfg.gt.dim_hidden,
        num_classes(dim_out),
        trans_num_layers=cfg.gt.layers,
        trans_num_heads=cfg.gt.n_heads,
        trans_dropout=cfg.gt.dropout,
        gnn_num_layers=cfg.gnn.layers_mp,
        gnn_dropout=cfg.gnn.dropout,
        graph_weight=cfg.gt.graph_weight,
    )
    # Their weights are drawn in PyG's order; only what they do with one graph is another.
    model.trans_conv.__class__ = OneGraphAttention
    if not cfg.gt.batch_norm:
        model.graph_conv.bns = nn.ModuleList(nn.Identity() for _ in model.graph_conv.bns)
    return SGFormerNetwork(model)
