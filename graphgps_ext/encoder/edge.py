"""Edge encoder of attention graphs: one embedding per edge type, and real edge features where there are."""

from torch import Tensor, nn
from torch_geometric.data import Data
from torch_geometric.graphgym.config import cfg
from torch_geometric.graphgym.register import register_edge_encoder

NUM_EDGE_TYPES = 3
NUM_EDGE_TYPES_VIRTUAL = 5


class ExpanderEdgeEncoder(nn.Module):
    """Embeds edge types (graph, expander, self-loop, and two for virtual nodes) and real edge features.

    The type table has T rows and is never expanded to the edges: layers look it up by type.

    Args:
        channels: d.
        num_types: T.
        edge_channels: D, number of real edge features; 0 = none.
    """

    def __init__(self, channels: int, *, num_types: int = NUM_EDGE_TYPES, edge_channels: int = 0) -> None:
        super().__init__()
        self.types = nn.Embedding(num_types, channels)
        self.features = nn.Linear(edge_channels, channels, bias=False) if edge_channels else None

    def forward(self, batch: Data) -> Data:
        """Sets `batch.type_embedding` [T, d] and, with edge features, maps them to d channels.

        They are [E, D] on a whole graph, and [N, K, D] for each layer of a layered batch.
        """
        batch.type_embedding = self.types.weight
        if self.features is not None:
            attr = batch.attention_edge_attr
            layered = not isinstance(attr, Tensor)
            batch.attention_edge_attr = [self.features(a) for a in attr] if layered else self.features(attr)
        return batch


@register_edge_encoder('spex_expander_edge')
def build_expander_edge_encoder(emb_dim: int) -> ExpanderEdgeEncoder:
    """Edge-type table, and edge features with `prep.edge_attr`."""
    return ExpanderEdgeEncoder(
        emb_dim,
        num_types=NUM_EDGE_TYPES_VIRTUAL if cfg.prep.num_virt_node else NUM_EDGE_TYPES,
        edge_channels=cfg.dataset.edge_dim if cfg.prep.edge_attr else 0,
    )
