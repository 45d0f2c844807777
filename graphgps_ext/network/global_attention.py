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
from torch_geometric.nn.attention import PolynormerAttention
from torch_geometric.nn.models import Polynormer, SGFormer
from torch_geometric.utils import add_self_loops

from graphgps_ext.layer.adjacency import adjacency
from graphgps_ext.network.plain import (
    ConvolutionNetwork,
    PlainNetwork,
    norm_arguments,
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
            GPSConv(channels, GCNConv(channels, channels, normalize=False), **kwargs)
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


class SeveralHeadPolynormer(Polynormer):
    """PyG's Polynormer, whose global attention cannot take the H·C channels that several heads make.

    PyG 2.8 gives it the width of one head (`channels=hidden_channels`), so `heads > 1` fails when the global
    phase begins. Here it gets the full width; with one head both are the same (if `qk_shared`, as published).
    """

    def __init__(
        self,
        in_channels: int,
        hidden_channels: int,
        out_channels: int,
        *,
        heads: int,
        global_layers: int,
        beta: float,
        global_dropout: float,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            in_channels, hidden_channels, out_channels, heads=heads, global_layers=0, beta=beta, **kwargs
        )
        for _ in range(global_layers):
            attention = PolynormerAttention(
                heads * hidden_channels, heads, hidden_channels, beta=beta, dropout=global_dropout
            )
            self.global_attn.append(attention)


class _LogProbabilities(PlainNetwork):
    """A model of PyG that takes a batch vector and returns log-probabilities of classes.

    GraphGym asks for one logit where there are two classes: the difference of their log-probabilities. Where
    there are more, log-probabilities are logits.
    """

    def edges(self, x: Tensor, edge_index: Tensor) -> Tensor:
        """The edges as the model takes them."""
        return adjacency(edge_index, x)

    def predict(self, x: Tensor, edge_index: Tensor) -> Tensor:
        one_graph = torch.zeros(len(x), dtype=torch.long, device=x.device)
        log_probability = self.model(x, self.edges(x, edge_index), one_graph)
        return log_probability.diff(dim=1) if log_probability.shape[1] == 2 else log_probability


class _Polynormer(_LogProbabilities):
    """Polynormer, which trains its local part alone for some epochs before the global one joins.

    Its local attention has no self-loops of its own: they are added to the edges, as in the published code.

    Args:
        model: PyG's.
        local_epochs: how many.
    """

    def __init__(self, model: Polynormer, *, local_epochs: int) -> None:
        super().__init__(model)
        self.local_epochs = local_epochs
        self.start_epoch(0)

    def start_epoch(self, epoch: int) -> None:
        """Says which epoch begins; the recipe calls it."""
        self.model._global = epoch >= self.local_epochs  # type: ignore[assignment]

    def edges(self, x: Tensor, edge_index: Tensor) -> Tensor:
        """[2, E + N], with a self-loop for each node."""
        return add_self_loops(edge_index, num_nodes=len(x))[0]

    def get_extra_state(self) -> dict[str, bool]:
        """The phase belongs to the checkpoint: the best epoch is evaluated as it was trained."""
        return {'global': bool(self.model._global)}

    def set_extra_state(self, state: dict[str, bool]) -> None:
        """Restores the phase of a checkpoint."""
        self.model._global = state['global']  # type: ignore[assignment]


def _num_classes(dim_out: int) -> int:
    """Number of classes, two where GraphGym asks for one logit.

    Raises:
        ValueError: if a node has several labels.
    """
    if cfg.dataset.task_type != 'classification':
        raise ValueError(
            f'{cfg.model.type} needs dataset.task_type classification: it ends in a soft-max over classes, '
            f'got {cfg.dataset.task_type}'
        )
    return 2 if dim_out == 1 else dim_out


@register_network('pyg_gps')
def build_gps(dim_in: int, dim_out: int) -> PlainNetwork:
    """GPS (PyG's `GPSConv` with a GCN as the local part); `gt.attn_type` multihead or performer.

    Rampášek et al., arXiv 2205.12454. Attention between all pairs of nodes (multihead) takes time in N².

    Raises:
        ValueError: if a head of Performer attention has one channel: PyG's has no random feature then.
    """
    performer = cfg.gt.attn_type == 'performer'
    if performer and cfg.gt.dim_hidden // cfg.gt.n_heads < 2:
        raise ValueError(
            f'gt.attn_type performer needs at least 2 channels per head, got gt.dim_hidden '
            f'{cfg.gt.dim_hidden} and gt.n_heads {cfg.gt.n_heads} (set gt.n_heads)'
        )
    refuse_unless_divisible('gt.dim_hidden', cfg.gt.dim_hidden, 'gt.n_heads', cfg.gt.n_heads)
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
    return ConvolutionNetwork(model, input_dropout=cfg.gt.input_dropout)


@register_network('pyg_sgformer')
def build_sgformer(dim_in: int, dim_out: int) -> PlainNetwork:
    """SGFormer (PyG's `SGFormer`): `gt.layers` of linear attention beside `gnn.layers_mp` of GCN.

    Wu et al., arXiv 2306.10759; the sum of both has `gt.graph_weight` for the GCN. PyG's GCN always has batch
    norm; `gt.batch_norm False` takes it out, for graphs of few labels.
    """
    model = SGFormer(
        dim_in,
        cfg.gt.dim_hidden,
        _num_classes(dim_out),
        trans_num_layers=cfg.gt.layers,
        trans_num_heads=cfg.gt.n_heads,
        trans_dropout=cfg.gt.dropout,
        gnn_num_layers=cfg.gnn.layers_mp,
        gnn_dropout=cfg.gnn.dropout,
        graph_weight=cfg.gt.graph_weight,
    )
    if not cfg.gt.batch_norm:
        model.graph_conv.bns = nn.ModuleList(nn.Identity() for _ in model.graph_conv.bns)
    return _LogProbabilities(model, input_dropout=cfg.gt.input_dropout)


@register_network('pyg_polynormer')
def build_polynormer(dim_in: int, dim_out: int) -> PlainNetwork:
    """Polynormer (PyG's `Polynormer`): `gnn.layers_mp` of GAT, then `gt.layers` of linear attention.

    Deng et al., arXiv 2403.01232. `gt.dim_hidden` is the width of all heads together. The published code
    learns β (here it is the fixed `gt.beta`), has a linear map before the first layer and no batch norm, and
    goes back to the best local epoch when the global attention joins after `gt.local_epochs`.
    """
    refuse_unless_divisible('gt.dim_hidden', cfg.gt.dim_hidden, 'gt.n_heads', cfg.gt.n_heads)
    model = SeveralHeadPolynormer(
        dim_in,
        cfg.gt.dim_hidden // cfg.gt.n_heads,
        _num_classes(dim_out),
        local_layers=cfg.gnn.layers_mp,
        global_layers=cfg.gt.layers,
        in_dropout=cfg.gt.input_dropout,
        dropout=cfg.gnn.dropout,
        global_dropout=cfg.gt.dropout,
        heads=cfg.gt.n_heads,
        beta=cfg.gt.beta,
        local_attn=True,
    )
    return _Polynormer(model, local_epochs=cfg.gt.local_epochs)
