"""Node head for the seed nodes of a layered batch."""

from torch import Tensor
from torch_geometric.data import Data
from torch_geometric.graphgym.models.head import GNNNodeHead
from torch_geometric.graphgym.register import register_head


@register_head('spex_seed_node')
class SeedNodeHead(GNNNodeHead):
    """GraphGym's node head, on the S seed nodes: labels and masks are their rows, which come first."""

    def _apply_index(self, batch: Data) -> tuple[Tensor, Tensor]:
        y = batch.y[: batch.batch_size]
        if 'split' not in batch:
            return batch.x, y
        mask = batch[f'{batch.split}_mask'][: batch.batch_size]
        return batch.x[mask], y[mask]
