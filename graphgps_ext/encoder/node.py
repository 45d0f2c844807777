"""Node encoder: a linear map of the features, and a learned vector for each virtual node."""

from torch import nn
from torch_geometric.data import Data
from torch_geometric.graphgym.config import cfg
from torch_geometric.graphgym.register import register_node_encoder


@register_node_encoder('spex_linear_node')
class LinearNodeEncoder(nn.Module):
    """Linear map of the node features to the hidden width, with vectors for virtual nodes.

    Virtual nodes have no features; `gt.input_dropout` drops those of the others.

    Args:
        emb_dim: d.
    """

    def __init__(self, emb_dim: int) -> None:
        super().__init__()
        self.dropout = nn.Dropout(cfg.gt.input_dropout)
        self.linear = nn.Linear(cfg.share.dim_in, emb_dim)
        self.virtual = None
        if cfg.prep.num_virt_node:
            self.virtual = nn.Embedding(cfg.prep.num_virt_node + 1, emb_dim, padding_idx=0)

    def forward(self, batch: Data) -> Data:
        """Replaces `batch.x` [N, F] by [N, d]; `batch.virtual_node` [N] is 0 for real nodes, else 1..V."""
        batch.x = self.linear(self.dropout(batch.x))
        if self.virtual is not None:
            batch.x = batch.x + self.virtual(batch.virtual_node.long())
        return batch
