"""The graph of an attention layer, in the two forms the sparse operators take: CSR and fixed-degree table.

Letters used throughout the package: N target nodes, M source nodes (M = N on a whole graph), E attention
edges, K sampled in-neighbours per node, T edge types, H heads, C channels per head, L layers, S seed nodes.
An edge goes from `edge_index[0]` (source) to `edge_index[1]` (target); a node attends to its in-neighbours.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar, Generic, Self, TypeAlias, TypeVar

import torch
from torch import Tensor

INT32_MAX = 2**31 - 1

# The types of an attention graph's edges.
GRAPH, EXPANDER, SELF_LOOP, TO_VIRTUAL, FROM_VIRTUAL = range(5)

T = TypeVar('T')
R = TypeVar('R')


def index_dtype(size: int) -> torch.dtype:
    """int32 for indices below 2³¹, else int64."""
    return torch.int32 if size <= INT32_MAX else torch.int64


class _OnDevice:
    """A dataclass of tensors, which move together."""

    def to(self, device: torch.device | str, *, non_blocking: bool = False) -> Self:
        """The same on another device; itself if it is there."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}  # type: ignore[arg-type]
        parts = {name: value for name, value in values.items() if isinstance(value, Tensor | _OnDevice)}
        moved = {name: part.to(device, non_blocking=non_blocking) for name, part in parts.items()}
        if all(moved[name] is part for name, part in parts.items()):
            return self
        return replace(self, **moved)  # type: ignore[type-var]


@dataclass(frozen=True)
class OutNeighbors(_OnDevice):
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


@dataclass(frozen=True)
class InNeighbors(_OnDevice):
    """In-neighbours in CSR form: a whole attention graph.

    Args:
        indptr: [N + 1] int64; the in-edges of node i are `indptr[i]:indptr[i + 1]`.
        source: [E] int32 (int64 from 2³¹ nodes on), the source of each edge.
        edge_type: [E] int8, the type of each edge.
        num_sources: M, the number of rows that `source` indexes.
        transpose: made by :func:`graphgps_ext.ops.with_transpose`, for backward passes.

    Raises:
        ValueError: if shapes or dtypes differ from the above.
    """

    indptr: Tensor
    source: Tensor
    edge_type: Tensor
    num_sources: int
    transpose: OutNeighbors | None = None

    def __post_init__(self) -> None:
        if self.indptr.dtype != torch.int64 or self.indptr.dim() != 1:
            raise ValueError(
                f'indptr needs dtype int64 and one dimension, got {self.indptr.dtype} '
                f'with shape {tuple(self.indptr.shape)}'
            )
        _check_edges(self.source, self.edge_type, '[E]')

    @classmethod
    def from_edge_index(
        cls,
        edge_index: Tensor,
        num_nodes: int | None = None,
        edge_type: Tensor | None = None,
        num_sources: int | None = None,
    ) -> InNeighbors:
        """The graph of PyG's `edge_index`; the in-edges of a node keep their order.

        Args:
            edge_index: [2, E] integers, row 0 source, row 1 target.
            num_nodes: N; None = the largest id + 1.
            edge_type: [E] integers from 0 to 127; None = all 0.
            num_sources: M; None = N.

        Raises:
            ValueError: if shapes or dtypes do not fit, or an id is out of range.
        """
        if edge_index.dim() != 2 or edge_index.shape[0] != 2 or edge_index.is_floating_point():
            raise ValueError(
                f'edge_index needs shape [2, E] and integers, '
                f'got {tuple(edge_index.shape)} {edge_index.dtype}'
            )
        source, target = edge_index.long()
        if num_nodes is None:
            num_nodes = int(edge_index.max()) + 1 if edge_index.numel() else 0
        num_sources = num_nodes if num_sources is None else num_sources
        for name, ids, size in (('source', source, num_sources), ('target', target, num_nodes)):
            low, high = (int(bound) for bound in ids.aminmax()) if ids.numel() else (0, -1)
            if low < 0 or high >= size:
                raise ValueError(f'a {name} needs to lie in [0, {size}), got {low if low < 0 else high}')
        edge_type = torch.zeros_like(source) if edge_type is None else edge_type
        if edge_type.shape != source.shape or edge_type.is_floating_point():
            raise ValueError(
                f'edge_type needs shape {tuple(source.shape)} and integers, '
                f'got {tuple(edge_type.shape)} {edge_type.dtype}'
            )
        order = torch.argsort(target, stable=True)
        indptr = target.new_zeros(num_nodes + 1)
        indptr[1:] = target.bincount(minlength=num_nodes).cumsum(0)
        source, edge_type = source[order].to(index_dtype(num_sources)), edge_type[order].to(torch.int8)
        return cls(indptr, source, edge_type, num_sources)

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


@dataclass(frozen=True)
class NeighborTable(_OnDevice):
    """At most K in-neighbours per node, as a dense table: the graph of one sampled layer.

    Args:
        source: [N, K] int32 (int64 from 2³¹ nodes on), the source of each edge; -1 = empty slot.
        edge_type: [N, K] int8; 0 in empty slots.
        num_sources: M, the number of rows that `source` indexes.
        edge_id: optional [N, K] int64, position of each edge in the graph it was drawn from; -1 = empty.
        transpose: made by :func:`graphgps_ext.ops.with_transpose`, for backward passes.

    Raises:
        ValueError: if shapes or dtypes differ from the above.
    """

    source: Tensor
    edge_type: Tensor
    num_sources: int
    edge_id: Tensor | None = None
    transpose: OutNeighbors | None = None
    indptr: ClassVar[None] = None  # none is needed: the slots of node i are K·i:K·(i + 1) of the flat table

    def __post_init__(self) -> None:
        _check_edges(self.source, self.edge_type, '[N, K]')

    @classmethod
    def from_edge_index(
        cls,
        edge_index: Tensor,
        num_nodes: int | None = None,
        edge_type: Tensor | None = None,
        num_sources: int | None = None,
    ) -> NeighborTable:
        """As :meth:`InNeighbors.from_edge_index`; K is the largest in-degree, `edge_id` counts in E."""
        graph = InNeighbors.from_edge_index(edge_index, num_nodes, edge_type, num_sources)
        target, degree = graph.target().long(), graph.degree()
        at = (target, torch.arange(graph.num_edges, device=target.device) - graph.indptr[target])
        order = torch.argsort(edge_index[1], stable=True)
        shape = (graph.num_nodes, int(degree.max()) if graph.num_nodes else 0)
        source = graph.source.new_full(shape, -1).index_put(at, graph.source)
        types = graph.edge_type.new_zeros(shape).index_put(at, graph.edge_type)
        return cls(source, types, graph.num_sources, order.new_full(shape, -1).index_put(at, order))

    @property
    def num_nodes(self) -> int:
        """N, the number of target nodes."""
        return self.source.shape[0]

    @property
    def num_edges(self) -> int:
        """E, the number of slots that are not empty; a GPU has to be waited for."""
        return int((self.source >= 0).sum())

    @property
    def width(self) -> int:
        """K, the number of slots per node."""
        return self.source.shape[1]

    def degree(self) -> Tensor:
        """[N] int64, the number of in-edges of each node."""
        return (self.source >= 0).sum(1)

    def target(self) -> Tensor:
        """[N, K] in the dtype of `source`, the target of each edge or empty slot."""
        nodes = torch.arange(self.num_nodes, device=self.source.device, dtype=self.source.dtype)
        return nodes[:, None].expand(self.source.shape)

    def edge_index(self) -> Tensor:
        """[2, E] int64, PyG's form of the edges, row by row and without empty slots."""
        return _edge_index(self, self.source >= 0)


Graph: TypeAlias = InNeighbors | NeighborTable


def graph_edges(graph: Graph) -> Tensor:
    """[2, E'] int64, row 0 source, row 1 target: the edges of type `GRAPH` by target, without empty slots."""
    return _edge_index(graph, (graph.edge_type == GRAPH) & (graph.source >= 0))


def _edge_index(graph: Graph, keep: Tensor) -> Tensor:
    return torch.stack([graph.source[keep].long(), graph.target()[keep].long()])


def _check_edges(source: Tensor, edge_type: Tensor, shape: str) -> None:
    if source.dim() != shape.count(',') + 1 or source.dtype not in (torch.int32, torch.int64):
        raise ValueError(
            f'source needs shape {shape} and dtype int32 or int64, got {tuple(source.shape)} {source.dtype}'
        )
    if edge_type.shape != source.shape or edge_type.dtype != torch.int8:
        raise ValueError(
            f'edge_type needs shape {tuple(source.shape)} and dtype int8, '
            f'got {tuple(edge_type.shape)} {edge_type.dtype}'
        )


class PerLayer(Generic[T]):
    """One thing for each of L layers, where layers may share one: all have the graph of a full batch.

    It reads like a tuple and is none: PyG turns a tuple on a batch into a list and moves what is in it entry
    by entry, so that a shared graph would come to a GPU L times. What is no sequence PyG moves by its `to`.

    Args:
        items: L of them, layer 0 nearest the input.
    """

    def __init__(self, items: Iterable[T]) -> None:
        self._items = tuple(items)

    def __len__(self) -> int:
        return len(self._items)

    def __getitem__(self, layer: int) -> T:
        return self._items[layer]

    def __iter__(self) -> Iterator[T]:
        return iter(self._items)

    def __repr__(self) -> str:
        return f'{type(self).__name__}({len(self)})'

    def map(self, function: Callable[[T], R]) -> PerLayer[R]:
        """`function` of each; it is called once for those that are shared."""
        made = {key: function(item) for key, item in {id(item): item for item in self}.items()}
        return PerLayer(made[id(item)] for item in self)

    def to(self, device: torch.device | str, **kwargs: Any) -> PerLayer[T]:
        """The same on another device."""
        return self.map(lambda item: item.to(device, **kwargs))  # type: ignore[attr-defined]
