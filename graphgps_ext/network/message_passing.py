"""PyG's message-passing networks, and the two that do without messages, as networks for GraphGym.

All read `gnn.layers_mp`, `gnn.dim_inner`, `gnn.dropout`, `gnn.act`, `gt.input_dropout` and the norm of
`gt.batch_norm`, `gt.graph_norm` or `gt.layer_norm`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from torch import Tensor, nn
from torch_geometric.graphgym.config import cfg
from torch_geometric.graphgym.register import register_network
from torch_geometric.nn.models import GAT, GCN, LINKX, MLP, GraphSAGE
from torch_geometric.utils import add_self_loops, remove_self_loops

from graphgps_ext.errors import ConfigError
from graphgps_ext.layer.adjacency import normalized_adjacency
from graphgps_ext.network.plain import PLAIN, PlainNetwork, norm_arguments, refuse_unless_divisible


class ConvWithSkip(nn.Module):
    """A convolution of PyG, `in_channels` to `out_channels`, plus a linear map of its input."""

    def __init__(self, conv: nn.Module, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = conv
        self.skip = nn.Linear(in_channels, out_channels)

    def reset_parameters(self) -> None:
        """Draws new weights."""
        self.conv.reset_parameters()  # type: ignore[operator]
        self.skip.reset_parameters()

    def forward(self, x: Tensor, edge_index: Tensor, **kwargs: Any) -> Tensor:
        """[N, in_channels] and [2, E] to [N, out_channels]."""
        return self.conv(x, edge_index, **kwargs) + self.skip(x)


class ResidualGCN(GCN):
    """PyG's GCN with a linear skip beside each convolution.

    With `jk='last'` it is the GCN of "Classic GNNs are Strong Baselines" (Luo, Shi, Wu, NeurIPS 2024): in
    each layer convolution + skip, norm, activation, dropout, and a linear map at the end.
    """

    def init_conv(self, in_channels: int, out_channels: int, **kwargs: Any) -> ConvWithSkip:
        """One layer."""
        return ConvWithSkip(super().init_conv(in_channels, out_channels, **kwargs), in_channels, out_channels)


def _sizes(dim_in: int, dim_out: int) -> dict[str, Any]:
    return {
        'in_channels': dim_in,
        'hidden_channels': cfg.gnn.dim_inner,
        'out_channels': dim_out,
        'num_layers': cfg.gnn.layers_mp,
        'dropout': cfg.gnn.dropout,
        'act': cfg.gnn.act,
        **norm_arguments(),
    }


@register_network('pyg_gcn')
@PLAIN
def build_gcn(dim_in: int, dim_out: int) -> PlainNetwork:
    """GCN (PyG's `GCN`): `gnn.layers_mp` graph convolutions (Kipf & Welling, arXiv 1609.02907)."""
    return PlainNetwork(GCN(**_sizes(dim_in, dim_out), normalize=False), normalized_adjacency)


@register_network('pyg_graphsage')
@PLAIN
def build_graphsage(dim_in: int, dim_out: int) -> PlainNetwork:
    """GraphSAGE (PyG's `GraphSAGE`), mean of all neighbours (Hamilton et al., arXiv 1706.02216)."""
    return PlainNetwork(GraphSAGE(**_sizes(dim_in, dim_out)))


@register_network('pyg_gatv2')
@replace(PLAIN, stage_types=('stack', 'skipsum'))
def build_gatv2(dim_in: int, dim_out: int) -> PlainNetwork:
    """GATv2 (PyG's `GAT(v2=True)`) with `gnn.att_heads` heads, averaged in the last layer (arXiv 2105.14491).

    `gnn.dropout` drops attention weights, too. `gnn.stage_type` skipsum adds a linear map of its input to
    each layer.
    """
    refuse_unless_divisible('gnn.dim_inner', 'gnn.att_heads')
    residual = cfg.gnn.stage_type == 'skipsum'
    sizes = _sizes(dim_in, dim_out)
    model = GAT(**sizes, v2=True, heads=cfg.gnn.att_heads, residual=residual, add_self_loops=False)
    return PlainNetwork(model, with_self_loops)


def with_self_loops(edge_index: Tensor, x: Tensor) -> tuple[Tensor]:
    """The edges with one loop at each node: those that PyG's `GATv2Conv` makes anew in every layer."""
    return (add_self_loops(remove_self_loops(edge_index)[0], num_nodes=len(x))[0],)


@register_network('pyg_residual_gcn')
@PLAIN
def build_residual_gcn(dim_in: int, dim_out: int) -> PlainNetwork:
    """The tuned classic: GCN with a linear skip beside each convolution, and a linear map at the end.

    Luo, Shi, Wu: "Classic GNNs are Strong Baselines", NeurIPS 2024 (arXiv 2406.08993).
    """
    model = ResidualGCN(**_sizes(dim_in, dim_out), jk='last', normalize=False)
    return PlainNetwork(model, normalized_adjacency)


@register_network('pyg_mlp')
@replace(PLAIN, sees_edges=False)
def build_mlp(dim_in: int, dim_out: int) -> PlainNetwork:
    """MLP (PyG's `MLP`) of `gnn.layers_mp` linear layers on the node features; sees no edges."""
    return PlainNetwork(MLP(**_sizes(dim_in, dim_out)), lambda edge_index, x: ())


@register_network('pyg_linkx')
@replace(PLAIN, parts=False)
def build_linkx(dim_in: int, dim_out: int) -> PlainNetwork:
    """LINKX (PyG's `LINKX`): MLPs of adjacency rows and features, joined (Lim et al., arXiv 2110.14446).

    Its norms and activations are fixed; `gnn.layers_mp` are the layers of the final MLP.

    Raises:
        ValueError: if the number of nodes is not known.
    """
    if cfg.share.num_nodes < 1:
        raise ConfigError(
            f'pyg_linkx needs the number of nodes of the graph, got share.num_nodes {cfg.share.num_nodes} '
            f'(run/main.py sets it)'
        )
    model = LINKX(
        num_nodes=cfg.share.num_nodes,
        in_channels=dim_in,
        hidden_channels=cfg.gnn.dim_inner,
        out_channels=dim_out,
        num_layers=cfg.gnn.layers_mp,
        dropout=cfg.gnn.dropout,
    )
    return PlainNetwork(model)
