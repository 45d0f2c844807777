"""Random attention problems, from hand-set row lengths or drawn by hypothesis."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from hypothesis import strategies as st
from torch import Tensor

from graphgps_ext.graph import Graph, InNeighbors, NeighborTable
from graphgps_ext.ops import sparse_attention, with_transpose


@dataclass(frozen=True)
class Case:
    """One call of the operator; `inputs`: query, key, value, type_scale, type_bias and perhaps edge_bias."""

    neighbors: Graph
    inputs: tuple[Tensor, ...]
    temperature: float | Tensor = 1.0
    logit_clamp: float = 0.0

    def keywords(self) -> dict[str, object]:
        bias = self.inputs[5] if len(self.inputs) == 6 else None
        return {'temperature': self.temperature, 'logit_clamp': self.logit_clamp, 'edge_bias': bias}

    def to(self, device: str) -> Case:
        inputs = tuple(x.detach().to(device).requires_grad_() for x in self.inputs)
        return replace(self, neighbors=self.neighbors.to(device), inputs=inputs)

    def run(self, implementation: str) -> tuple[Tensor, Tensor]:
        q, k, v, scale, bias = self.inputs[:5]
        return sparse_attention(
            q, k, v, self.neighbors, scale, bias,
            return_weights=True, implementation=implementation, **self.keywords(),
        )  # fmt: skip


def csr(row_lengths: list[int], num_sources: int, num_types: int, generator: torch.Generator) -> InNeighbors:
    """A graph with these in-degrees and random sources, repeats included."""
    degree = torch.tensor(row_lengths, dtype=torch.int64)
    indptr = torch.cat([torch.zeros(1, dtype=torch.int64), degree.cumsum(0)])
    E = int(indptr[-1])
    source = torch.randint(num_sources, (E,), generator=generator).int()
    edge_type = torch.randint(num_types, (E,), generator=generator).to(torch.int8)
    return InNeighbors(indptr, source, edge_type, num_sources)


def table(
    num_nodes: int, degree: int, num_sources: int, num_types: int, generator: torch.Generator
) -> NeighborTable:
    """A table with a random number of edges per row; empty slots anywhere."""
    shape = (num_nodes, degree)
    neighbors = torch.randint(num_sources, shape, generator=generator).int()
    share = torch.rand(num_nodes, 1, generator=generator) * 1.5  # a third of the rows is full
    neighbors[torch.rand(shape, generator=generator) > share] = -1
    if num_nodes:
        neighbors[torch.randint(num_nodes, (1,), generator=generator)] = -1
    edge_type = torch.randint(num_types, shape, generator=generator).to(torch.int8)
    edge_type[neighbors < 0] = 0
    return NeighborTable(neighbors, edge_type, num_sources)


def problem(
    neighbors: Graph,
    heads: int,
    channels: int,
    num_types: int,
    generator: torch.Generator,
    *,
    with_bias: bool = False,
    temperature: float = 1.0,
    logit_clamp: float = 0.0,
    dtype: torch.dtype = torch.float32,
    spread: float = 1.0,
) -> Case:
    """Normal inputs, all asking for gradients."""
    N, M = neighbors.num_nodes, neighbors.num_sources
    shapes: list[tuple[int, ...]] = [(N, heads, channels), (M, heads, channels), (M, heads, channels)]
    shapes += [(num_types, heads, channels), (num_types, heads)]
    if with_bias:
        shapes.append((*neighbors.edge_type.shape, heads))
    inputs = [torch.randn(s, generator=generator, dtype=dtype) for s in shapes]
    inputs[0] *= spread
    return Case(
        neighbors, tuple(x.requires_grad_() for x in inputs), temperature=temperature, logit_clamp=logit_clamp
    )


@st.composite
def drawn_cases(draw: st.DrawFn, max_channels: int = 9, max_rows: int = 8) -> Case:
    """Shapes, graphs and settings; rows from empty to longer than there are sources."""
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    M, T = draw(st.integers(1, 6)), draw(st.integers(1, 5))
    heads, channels = draw(st.integers(1, 3)), draw(st.integers(1, max_channels))
    graph: Graph
    if draw(st.booleans()):
        lengths = draw(st.lists(st.sampled_from([0, 0, 1, 2, 3, 7, 20]), min_size=1, max_size=max_rows))
        graph = csr(lengths, M, T, generator)
    else:
        graph = table(draw(st.integers(1, max_rows)), draw(st.integers(1, 9)), M, T, generator)
    if draw(st.booleans()):  # also without the edges' positions, which a bias then has to do without
        graph = with_transpose(graph, with_edge_id=draw(st.booleans()))
    return problem(
        graph, heads, channels, T, generator,
        with_bias=draw(st.booleans()),
        temperature=draw(st.sampled_from([1.0, 0.05, 2.0])),
        logit_clamp=draw(st.sampled_from([0.0, 0.0, 0.5, 8.0])),
    )  # fmt: skip
