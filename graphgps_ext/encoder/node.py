"""Node encoder: a linear map of the features, and a learned vector for each virtual node."""

from torch import nn
from torch_geometric.data import Data
from torch_geometric.graphgym.config import cfg
from torch_geometric.graphgym.register import register_node_encoder


class LinearNodeEncoder(nn.Module):
    """Linear map of node features; virtual nodes, which have none, get a learned vector instead.

    Args:
        in_channels: F, number of features.
        out_channels: d.
        num_virtual_nodes: V, number of virtual nodes.
        dropout: probability of dropping an input feature.
    """

    def __init__(
        self, in_channels: int, out_channels: int, *, num_virtual_nodes: int = 0, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(in_channels, out_channels)
        self.virtual = None
        if num_virtual_nodes:
            self.virtual = nn.Embedding(num_virtual_nodes + 1, out_channels, padding_idx=0)

    def forward(self, batch: Data) -> Data:
        """Replaces `batch.x` [N, F] by [N, d]; `batch.virtual_node` [N] is 0 for real nodes, else 1..V."""
        batch.x = self.linear(self.dropout(batch.x))
        if self.virtual is not None:
            batch.x = batch.x + self.virtual(batch.virtual_node.long())
        return batch


@register_node_encoder('spex_linear_node')
def build_linear_node_encoder(emb_dim: int) -> LinearNodeEncoder:
    """Linear map of the node features to the hidden width, with vectors for virtual nodes."""
    return LinearNodeEncoder(
        cfg.share.dim_in,
        emb_dim,
        num_virtual_nodes=cfg.prep.num_virt_node,
        dropout=cfg.gt.input_dropout,
    )
