"""What the wrappers of PyG's models have in common: they see node features and plain edges."""

from __future__ import annotations

import warnings

import torch
from torch import Tensor, nn
from torch_geometric.data import Data
from torch_geometric.graphgym.config import cfg
from torch_geometric.nn.conv.gcn_conv import gcn_norm
from torch_geometric.utils import to_torch_csr_tensor

from graphgps_ext.layer.norm import allow_single_rows


class PlainNetwork(nn.Module):
    """One of PyG's models as a network for GraphGym: batch to (prediction, label).

    It needs no attention graph: its recipe hands it the input edges alone (`transform.batch.plain_graph`).

    Args:
        model: PyG's module; its forward takes what :meth:`predict` gives it.
        input_dropout: probability of dropping an input feature.
    """

    def __init__(self, model: nn.Module, *, input_dropout: float = 0.0) -> None:
        super().__init__()
        self.input_dropout = nn.Dropout(input_dropout)
        self.model = model
        allow_single_rows(self)  # the last part of a graph may be one node

    def forward(self, batch: Data) -> tuple[Tensor, Tensor]:
        """`x` [N, F] and `edge_index` [2, E] to prediction and label of the S nodes of `batch.split`.

        Without `split` they are those of all nodes. The batch stays as it is.
        """
        prediction = self.predict(self.input_dropout(batch.x), batch.edge_index)
        if 'split' not in batch:
            return prediction, batch.y
        mask = batch[f'{batch.split}_mask']
        return prediction[mask], batch.y[mask]

    def predict(self, x: Tensor, edge_index: Tensor) -> Tensor:
        """[N, F] and [2, E] to [N, ·]."""
        return self.model(x, adjacency(edge_index, x))


class EdgeListNetwork(PlainNetwork):
    """A model that weighs each edge by its ends, hence needs them one by one."""

    def predict(self, x: Tensor, edge_index: Tensor) -> Tensor:
        """[N, F] and [2, E] to [N, ·]."""
        return self.model(x, edge_index)


class ConvolutionNetwork(PlainNetwork):
    """A model of GCN's convolutions that leaves the normalisation of the adjacency to us."""

    def predict(self, x: Tensor, edge_index: Tensor) -> Tensor:
        """[N, F] and [2, E] to [N, ·]."""
        return self.model(x, *normalized_adjacency(edge_index, x))


def adjacency(edge_index: Tensor, x: Tensor) -> Tensor:
    """The edges as PyG's convolutions work fastest on them: the transposed adjacency [N, N], sparse in CSR.

    They then multiply by a matrix instead of gathering and scattering [E, d], with equal results: a GCN layer
    of width 64 on Tolokers (10⁶ edges) takes a seventh of the time on one CPU core. Under autocast, for which
    torch has no sparse product, the edges stay as they are.

    Args:
        edge_index: [2, E]. Sorted by target, then source, nothing is sorted again.
        x: [N, F].
    """
    if torch.is_autocast_enabled(x.device.type):
        return edge_index
    source, target = edge_index
    is_sorted = bool((target * len(x) + source).diff().gt(0).all())
    return _transposed_csr(edge_index, None, len(x), is_sorted)


def normalized_adjacency(edge_index: Tensor, x: Tensor) -> tuple[Tensor, Tensor | None]:
    """GCN's adjacency with self-loops and symmetric normalisation, which is the same in all its layers.

    Made once here, it spares each layer of PyG's `GCNConv` that works on a sparse matrix making it anew: a
    training step of eight layers of width 64 takes a third less time on one CPU core.

    Args:
        edge_index: [2, E].
        x: [N, F].

    Returns:
        `edge_index` and `edge_weight` of PyG's `GCNConv(normalize=False)`: as in :func:`adjacency` a sparse
        matrix and None, or under autocast edges and their weights.
    """
    edge_index, weight = gcn_norm(edge_index, num_nodes=len(x), dtype=x.dtype)
    if torch.is_autocast_enabled(x.device.type):
        return edge_index, weight
    return _transposed_csr(edge_index, weight, len(x), is_coalesced=False), None


def _transposed_csr(edge_index: Tensor, weight: Tensor | None, size: int, is_coalesced: bool) -> Tensor:
    with warnings.catch_warnings():
        warnings.filterwarnings('ignore', 'Sparse (CSR tensor support|invariant checks)')
        return to_torch_csr_tensor(edge_index.flip(0), weight, size=size, is_coalesced=is_coalesced)


def norm_arguments() -> dict[str, object]:
    """`norm` and `norm_kwargs` of PyG's models, from the keys `gt.*_norm`."""
    if cfg.gt.batch_norm:
        return {'norm': 'batch_norm'}
    if cfg.gt.graph_norm:
        return {'norm': 'graph_norm'}
    if cfg.gt.layer_norm:
        return {'norm': 'layer_norm', 'norm_kwargs': {'mode': 'node'}}
    return {'norm': None}


def refuse_unless_divisible(width_key: str, width: int, heads_key: str, heads: int) -> None:
    """Heads have to share the width.

    Raises:
        ValueError: if they cannot.
    """
    if width % heads:
        raise ValueError(
            f'{width_key} needs to be a multiple of {heads_key}, got {width} and {heads} (set {width_key})'
        )
