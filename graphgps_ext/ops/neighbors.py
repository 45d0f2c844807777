"""In-neighbours of a graph, in the two forms the sparse operators take: CSR and fixed-degree table.

Letters used throughout the package: N target nodes, M source nodes (M = N on a whole graph), E attention
edges, K sampled in-neighbours per node, T edge types, H heads, C channels per head, L layers, S seed nodes.
An edge goes from `edge_index[0]` (source) to `edge_index[1]` (target); a node attends to its in-neighbours.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

INT32_MAX = 2**31 - 1


def index_dtype(size: int) -> torch.dtype:
    """int32 for indices below 2³¹, else int64."""
    return torch.int32 if size <= INT32_MAX else torch.int64


def _count_types(edge_type: Tensor) -> int:
    return int(edge_type.max()) + 1 if edge_type.numel() else 1


@dataclass(frozen=True)
class OutNeighbors:
    """The transpose of a graph (CSC): out-edges by source, those of one source by (type, edge).

    Args:
        indptr: [M + 1] int32 or int64, offsets into the arrays below.
        target: [E] int32 or int64, the target of each edge.
        edge_type: [E] int8, the type of each edge.
        edge_id: optional [E] int32 or int64, the position of the edge in the arrays of the graph. Only a bias
            per edge needs it.
    """

    indptr: Tensor
    target: Tensor
    edge_type: Tensor
    edge_id: Tensor | None = None

    def to(self, device: torch.device | str, *, non_blocking: bool = False) -> OutNeighbors:
        """The same transpose on another device."""
        edge_id = self.edge_id
        return OutNeighbors(
            self.indptr.to(device, non_blocking=non_blocking),
            self.target.to(device, non_blocking=non_blocking),
            self.edge_type.to(device, non_blocking=non_blocking),
            None if edge_id is None else edge_id.to(device, non_blocking=non_blocking),
        )


@dataclass(frozen=True)
class InNeighbors:
    """In-neighbours in CSR form, the attention graph of one layer.

    Args:
        indptr: [N + 1] int64; the in-edges of node i are `indptr[i]:indptr[i + 1]`.
        source: [E] int32 (int64 from 2³¹ nodes on), the source of each edge.
        edge_type: [E] int8, the type of each edge.
        num_sources: M, the number of rows that `source` indexes.
        out: the transpose, if it was made already; see :meth:`with_out_neighbors`.

    Raises:
        ValueError: if shapes or dtypes differ from the above.
    """

    indptr: Tensor
    source: Tensor
    edge_type: Tensor
    num_sources: int
    out: OutNeighbors | None = None

    def __post_init__(self) -> None:
        if self.indptr.dtype != torch.int64 or self.indptr.dim() != 1:
            raise ValueError(
                f'indptr needs dtype int64 and one dimension, got {self.indptr.dtype} '
                f'with shape {tuple(self.indptr.shape)}'
            )
        if self.source.dtype not in (torch.int32, torch.int64):
            raise ValueError(f'source needs dtype int32 or int64, got {self.source.dtype}')
        if self.edge_type.dtype != torch.int8:
            raise ValueError(f'edge_type needs dtype int8, got {self.edge_type.dtype}')
        if self.source.dim() != 1 or self.source.shape != self.edge_type.shape:
            raise ValueError(
                f'source and edge_type need one shape [E], got {tuple(self.source.shape)} '
                f'and {tuple(self.edge_type.shape)}'
            )

    @property
    def num_nodes(self) -> int:
        """N, the number of target nodes."""
        return self.indptr.numel() - 1

    @property
    def num_edges(self) -> int:
        """E, the number of edges."""
        return self.source.numel()

    def degree(self) -> Tensor:
        """[N] int64, the number of in-edges of each node."""
        return self.indptr.diff()

    def target(self) -> Tensor:
        """[E] in the dtype of `source`, the target of each edge."""
        nodes = torch.arange(self.num_nodes, device=self.source.device, dtype=self.source.dtype)
        return nodes.repeat_interleave(self.degree(), output_size=self.num_edges)

    def edge_index(self) -> Tensor:
        """[2, E] int64, PyG's form of the same edges in the same order."""
        return torch.stack([self.source.long(), self.target().long()])

    def with_out_neighbors(self, num_types: int | None = None, *, with_edge_id: bool = False) -> InNeighbors:
        """The same graph with its transpose made, for a backward pass.

        Args:
            num_types: T, above every edge type; None looks for it, for which a GPU has to be waited for.
            with_edge_id: also note the position of each edge, which the gradient of a bias per edge needs.
        """
        if self.out is not None and (self.out.edge_id is not None or not with_edge_id):
            return self
        from graphgps_ext.ops.transpose import transpose

        num_types = num_types or _count_types(self.edge_type)
        graph = (self.indptr, self.source, self.edge_type, self.num_sources, num_types)
        return replace(self, out=transpose(*graph, with_edge_id=with_edge_id))

    def to(self, device: torch.device | str, *, non_blocking: bool = False) -> InNeighbors:
        """The same graph on another device."""
        return replace(
            self,
            indptr=self.indptr.to(device, non_blocking=non_blocking),
            source=self.source.to(device, non_blocking=non_blocking),
            edge_type=self.edge_type.to(device, non_blocking=non_blocking),
            out=self.out and self.out.to(device, non_blocking=non_blocking),
        )


@dataclass(frozen=True)
class NeighborTable:
    """At most K in-neighbours per node, as a dense table: the graph of one sampled layer.

    Args:
        neighbors: [N, K] int32 (int64 from 2³¹ nodes on), sources of the in-edges; -1 = empty slot.
        edge_type: [N, K] int8; 0 in empty slots.
        num_sources: M, the number of rows that `neighbors` indexes.
        edge_id: optional [N, K] int64, position of each edge in the graph it was drawn from; -1 = empty.
        out: the transpose, if it was made already; see :meth:`with_out_neighbors`.

    Raises:
        ValueError: if shapes or dtypes differ from the above.
    """

    neighbors: Tensor
    edge_type: Tensor
    num_sources: int
    edge_id: Tensor | None = None
    out: OutNeighbors | None = None

    def __post_init__(self) -> None:
        if self.neighbors.dim() != 2 or self.neighbors.dtype not in (torch.int32, torch.int64):
            raise ValueError(
                f'neighbors needs shape [N, K] and dtype int32 or int64, '
                f'got {tuple(self.neighbors.shape)} {self.neighbors.dtype}'
            )
        if self.edge_type.shape != self.neighbors.shape or self.edge_type.dtype != torch.int8:
            raise ValueError(
                f'edge_type needs shape {tuple(self.neighbors.shape)} and dtype int8, '
                f'got {tuple(self.edge_type.shape)} {self.edge_type.dtype}'
            )

    @property
    def num_nodes(self) -> int:
        """N, the number of target nodes."""
        return self.neighbors.shape[0]

    @property
    def degree(self) -> int:
        """K, the number of slots per node."""
        return self.neighbors.shape[1]

    def with_out_neighbors(
        self, num_types: int | None = None, *, with_edge_id: bool = False
    ) -> NeighborTable:
        """The same table with its transpose made; see :meth:`InNeighbors.with_out_neighbors`."""
        if self.out is not None and (self.out.edge_id is not None or not with_edge_id):
            return self
        from graphgps_ext.ops.transpose import transpose

        num_types = num_types or _count_types(self.edge_type)
        graph = (None, self.neighbors, self.edge_type, self.num_sources, num_types)
        return replace(self, out=transpose(*graph, with_edge_id=with_edge_id))

    def to(self, device: torch.device | str, *, non_blocking: bool = False) -> NeighborTable:
        """The same table on another device."""
        return replace(
            self,
            neighbors=self.neighbors.to(device, non_blocking=non_blocking),
            edge_type=self.edge_type.to(device, non_blocking=non_blocking),
            edge_id=None if self.edge_id is None else self.edge_id.to(device, non_blocking=non_blocking),
            out=self.out and self.out.to(device, non_blocking=non_blocking),
        )
