"""Message passing over the graph's own edges, beside the sparse attention (GPS, Rampášek et al. 2022)."""

from __future__ import annotations

from torch import Tensor, nn
from torch_geometric.nn import GATv2Conv, GCNConv, ResGatedGraphConv, SAGEConv

from graphgps_ext.graph import Graph, graph_edges
from graphgps_ext.layer.adjacency import adjacency, normalized_adjacency, use_products

# Those that take nodes of two layers, so that a layer of a mini-batch may compute fewer nodes than it reads.
OF_SAMPLED_EDGES = ('sage', 'gat', 'gatedgcn')
LOCAL_GNN_TYPES = ('gcn', *OF_SAMPLED_EDGES)


class LocalBranch(nn.Module):
    """A convolution of PyG over edges of type `GRAPH`, width d to d.

    Args:
        kind: gcn (GCNConv), sage (SAGEConv, mean), gat (GATv2Conv) or gatedgcn (ResGatedGraphConv).
        channels: d.
        heads: H of gat; has to divide d.

    Raises:
        ValueError: for another kind.
    """

    def __init__(self, kind: str, channels: int, *, heads: int = 1) -> None:
        super().__init__()
        if kind not in LOCAL_GNN_TYPES:
            raise ValueError(
                f'a local branch needs one of {", ".join(LOCAL_GNN_TYPES)}, got {kind!r} '
                f'(set gt.local_gnn_type)'
            )
        self.kind = kind
        self.conv: nn.Module
        if kind == 'gcn':
            self.conv = GCNConv(channels, channels, normalize=False)  # `edges` does it
        elif kind == 'gat':
            self.conv = GATv2Conv(channels, channels // heads, heads)
        else:
            self.conv = {'sage': SAGEConv, 'gatedgcn': ResGatedGraphConv}[kind](channels, channels)
        use_products(self)

    def edges(
        self, edge_index: Tensor, x: Tensor, num_targets: int | None = None
    ) -> tuple[Tensor | None, ...]:
        """What the convolution takes after `x`: the whole graph's are those of all layers, made once.

        Without the [E', d] of messages along a list of edges, gcn and sage take a fraction of its memory.

        Args:
            edge_index: [2, E'] int64, row 0 source, row 1 target.
            x: [M, d], of any layer.
            num_targets: N, where the targets are the first rows of `x`; None = all.
        """
        if self.kind == 'gcn':
            return normalized_adjacency(edge_index, x)
        return (adjacency(edge_index, x, num_targets) if self.kind == 'sage' else edge_index,)

    def forward(self, x: Tensor, neighbors: Graph, edges: tuple[Tensor | None, ...] | None = None) -> Tensor:
        """[M, d] to [N, d], N = `neighbors.num_nodes` targets, which are the first rows of `x`.

        Args:
            x: [M, d].
            neighbors: the graph of the attention.
            edges: of :meth:`edges`, those among all nodes (then N = M); None = those of `neighbors` that are
                of type `GRAPH`.
        """
        if edges is None:
            edges = self.edges(graph_edges(neighbors), x, neighbors.num_nodes)
        if self.kind not in OF_SAMPLED_EDGES:
            return self.conv(x, *edges)
        return self.conv((x, x[: neighbors.num_nodes]), *edges)
