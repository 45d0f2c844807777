"""Edge encoder of attention graphs: one embedding per edge type, and real edge features where there are."""

from torch import nn
from torch_geometric.data import Data
from torch_geometric.graphgym.config import cfg
from torch_geometric.graphgym.register import register_edge_encoder

from graphgps_ext.graph import FROM_VIRTUAL, SELF_LOOP
from graphgps_ext.transform.batch import per_layer


class ExpanderEdgeEncoder(nn.Module):
    """Embeds edge types (graph, expander, self-loop, and two for virtual nodes) and real edge features.

    The type table has T rows and is never expanded to the edges: layers look it up by type.

    Args:
        channels: d.
        num_types: T.
        edge_channels: D, number of real edge features; 0 = none.
    """

    def __init__(self, channels: int, *, num_types: int = SELF_LOOP + 1, edge_channels: int = 0) -> None:
        super().__init__()
        self.types = nn.Embedding(num_types, channels)
        self.features = nn.Linear(edge_channels, channels, bias=False) if edge_channels else None

    def forward(self, batch: Data) -> Data:
        """Sets `batch.type_embedding` [T, d] and, with edge features, maps them to d channels.

        They are [E, D] or [N, K, D] for each layer; what layers share is mapped once.
        """
        batch.type_embedding = self.types.weight
        if self.features is not None:
            batch.attention_edge_attr = per_layer(batch, 'attention_edge_attr').map(self.features)
        return batch


@register_edge_encoder('spex_expander_edge')
def build_expander_edge_encoder(emb_dim: int) -> ExpanderEdgeEncoder:
    """Edge-type table, and edge features with `prep.edge_attr`."""
    return ExpanderEdgeEncoder(
        emb_dim,
        num_types=(FROM_VIRTUAL if cfg.prep.num_virt_node else SELF_LOOP) + 1,
        edge_channels=cfg.dataset.edge_dim if cfg.prep.edge_attr else 0,
    )
