"""What the wrappers of PyG's models have in common: they see node features and plain edges."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn
from torch_geometric.data import Data
from torch_geometric.graphgym.config import cfg

from graphgps_ext.capabilities import Capabilities
from graphgps_ext.config.tree import get
from graphgps_ext.errors import ConfigError
from graphgps_ext.layer.adjacency import adjacency, use_products
from graphgps_ext.layer.graphgym import chosen_norm
from graphgps_ext.layer.norm import allow_single_rows

PLAIN = Capabilities(plain=True, parts=True, stage_types=('stack',))  # what most of them can do


def as_matrix(edge_index: Tensor, x: Tensor) -> tuple[Tensor]:
    """The edges as a sparse matrix, on which most of PyG's convolutions are fastest."""
    return (adjacency(edge_index, x),)


class PlainNetwork(nn.Module):
    """One of PyG's models as a network for GraphGym: batch to (prediction, label).

    It needs no attention graph: its recipe hands it the input edges alone (`transform.batch.plain_graph`).

    Args:
        model: PyG's module.
        edges: makes what its forward takes after `x`, of `edge_index` and `x`.
    """

    def __init__(
        self,
        model: nn.Module,
        edges: Callable[[Tensor, Tensor], tuple[Tensor | None, ...]] = as_matrix,
    ) -> None:
        super().__init__()
        self.input_dropout = nn.Dropout(cfg.gt.input_dropout)
        self.model = model
        self.edges = edges
        use_products(self)
        allow_single_rows(self)  # the last part of a graph may be one node

    def prepare(self, batch: Data) -> None:
        """Puts on a full batch what the model takes of its edges, the same in every pass."""
        batch.prepared_edges = self.edges(batch.edge_index, batch.x)

    def forward(self, batch: Data) -> tuple[Tensor, Tensor]:
        """`x` [N, F] and `edge_index` [2, E] to prediction and label of the S nodes of `batch.split`.

        Without `split` they are those of all nodes. The batch stays as it is.
        """
        x = self.input_dropout(batch.x)
        edges = batch.prepared_edges if 'prepared_edges' in batch else self.edges(batch.edge_index, x)
        prediction = self.predict(x, *edges)
        if 'split' not in batch:
            return prediction, batch.y
        mask = batch[f'{batch.split}_mask']
        return prediction[mask], batch.y[mask]

    def predict(self, x: Tensor, *edges: Tensor | None) -> Tensor:
        """[N, F], and what is made of the edges, to [N, ·]."""
        return self.model(x, *edges)


def norm_arguments() -> dict[str, object]:
    """`norm` and `norm_kwargs` of PyG's models, from the keys `gt.*_norm`."""
    name = chosen_norm()
    if name == 'layer':
        return {'norm': 'layer_norm', 'norm_kwargs': {'mode': 'node'}}
    return {'norm': name and f'{name}_norm'}


def refuse_unless_divisible(width_key: str, heads_key: str) -> None:
    """Raises ConfigError if the heads of one config key cannot share the width of the other."""
    width, heads = get(cfg, width_key), get(cfg, heads_key)
    if width % heads:
        raise ConfigError(
            f'{width_key} needs to be a multiple of {heads_key}, got {width} and {heads} (set {width_key})'
        )


def num_classes(dim_out: int) -> int:
    """Number of classes, two where GraphGym asks for one logit.

    Raises:
        ValueError: if a node has several labels.
    """
    if cfg.dataset.task_type != 'classification':
        raise ConfigError(
            f'{cfg.model.type} needs dataset.task_type classification: it ends in a soft-max over classes, '
            f'got {cfg.dataset.task_type}'
        )
    return 2 if dim_out == 1 else dim_out


def class_logits(logits: Tensor) -> Tensor:
    """What GraphGym asks for, of logits or log-probabilities of C classes [N, C]: they, or [N, 1] of two.

    The logit of the second of two classes is the difference of theirs.
    """
    return logits.diff(dim=1) if logits.shape[1] == 2 else logits
