"""Edge encoder of attention graphs: one embedding per edge type, and real edge features where there are."""

from torch import nn
from torch_geometric.data import Data
from torch_geometric.graphgym.config import cfg
from torch_geometric.graphgym.register import register_edge_encoder

from graphgps_ext.graph import FROM_VIRTUAL, SELF_LOOP
from graphgps_ext.transform.batch import per_layer


@register_edge_encoder('spex_expander_edge')
class ExpanderEdgeEncoder(nn.Module):
    """Edge-type table, and edge features with `prep.edge_attr`.

    The types are graph, expander, self-loop, and two for virtual nodes. Their table has T rows and is never
    expanded to the edges: layers look it up by type.

    Args:
        emb_dim: d.
    """

    def __init__(self, emb_dim: int) -> None:
        super().__init__()
        self.types = nn.Embedding((FROM_VIRTUAL if cfg.prep.num_virt_node else SELF_LOOP) + 1, emb_dim)
        self.features = None
        if cfg.prep.edge_attr:
            self.features = nn.Linear(cfg.dataset.edge_dim, emb_dim, bias=False)

    def forward(self, batch: Data) -> Data:
        """Sets `batch.type_embedding` [T, d] and, with edge features, maps them to d channels.

        They are [E, D] or [N, K, D] for each layer; what layers share is mapped once.
        """
        batch.type_embedding = self.types.weight
        if self.features is not None:
            batch.attention_edge_attr = per_layer(batch, 'attention_edge_attr').map(self.features)
        return batch
