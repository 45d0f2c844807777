"""The problems that bench_attention.py measures."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from graphgps_ext.graph import Graph, InNeighbors, NeighborTable
from graphgps_ext.ops import with_transpose

TYPES = 3


@dataclass(frozen=True)
class AttentionCase:
    """A table of `degree` slots per node, or with `skewed` a CSR graph of that mean in-degree."""

    name: str
    nodes: int
    degree: float
    heads: int
    channels: int
    skewed: bool = False

    def smaller(self) -> AttentionCase:
        """The same shape with a sixteenth of the nodes, and of the degree where it is large."""
        return replace(
            self, nodes=self.nodes // 16, degree=max(10, self.degree / 16) if self.skewed else self.degree
        )


@dataclass
class Problem:
    """Tensors of one case; `source` and `target` are the edges as PyG's layers want them."""

    query: Tensor
    key: Tensor
    value: Tensor
    type_scale: Tensor
    type_bias: Tensor
    grad: Tensor
    neighbors: Graph
    source: Tensor
    target: Tensor

    def double(self) -> Problem:
        return self._cast(torch.float64, torch.float64)

    def low_precision(self) -> Problem:
        return self._cast(torch.bfloat16, torch.float32)

    def _cast(self, rows: torch.dtype, tables: torch.dtype) -> Problem:
        dtypes = dict.fromkeys(('query', 'key', 'value'), rows) | dict.fromkeys(
            ('type_scale', 'type_bias'), tables
        )
        leaves = {x: getattr(self, x).detach().to(dtype).requires_grad_() for x, dtype in dtypes.items()}
        return replace(self, **leaves, grad=self.grad.to(rows))


def make_problem(case: AttentionCase, device: str) -> Problem:
    """Random rows on a random graph; a skewed one has log-normal degrees, a few rows far above the mean."""
    g = torch.Generator(device).manual_seed(0)
    N, H, C = case.nodes, case.heads, case.channels
    neighbors: Graph
    if case.skewed:
        degree = torch.empty(N, device=device).log_normal_(0.0, 1.0, generator=g)
        degree = (degree * (case.degree / degree.mean())).round().long()
        indptr = torch.zeros(N + 1, dtype=torch.int64, device=device)
        torch.cumsum(degree, 0, out=indptr[1:])
        E = int(indptr[-1])
        # Sources as skewed as targets: an edge's source is the target of another edge.
        source = torch.arange(N, device=device, dtype=torch.int32).repeat_interleave(degree, output_size=E)
        source = source[torch.randint(E, (E,), device=device, generator=g)]
        graph = InNeighbors(indptr, source, source.to(torch.int8), N)
        target = graph.target().long()
        place = (torch.arange(E, device=device) - indptr[target]) / degree[target]
        neighbors = with_transpose(replace(graph, edge_type=_types(place)))
    else:
        K = int(case.degree)
        table = torch.randint(N, (N, K), device=device, generator=g, dtype=torch.int32)
        place = (torch.arange(K, device=device) / K).expand(N, K)
        neighbors = with_transpose(NeighborTable(table, _types(place), N), TYPES)
    shapes = ((N, H, C), (N, H, C), (N, H, C), (TYPES, H, C), (TYPES, H))
    leaves = [torch.randn(s, device=device, generator=g).requires_grad_() for s in shapes]
    grad = torch.randn(N, H, C, device=device, generator=g)
    edges = (ends.flatten().long() for ends in (neighbors.source, neighbors.target()))
    return Problem(*leaves, grad, neighbors, *edges)


def _types(place: Tensor) -> Tensor:
    """Types as this package's graphs have them, given an edge's place in its row from 0 to 1."""
    return torch.where(place < 0.6, 0, torch.where(place < 0.95, 1, 2)).to(torch.int8).contiguous()


def _growth(base: int) -> list[AttentionCase]:
    """One thing grows at a time: edges (with the nodes), degree, width of a head, heads."""
    cases = [AttentionCase(f'edges x{n}', base * n, 10, 4, 16) for n in (1, 10, 100)]
    cases += [AttentionCase(f'degree {k}', base * 10, k, 4, 16) for k in (5, 20, 40)]
    cases += [AttentionCase(f'channels {c}', base * 10, 10, 4, c) for c in (4, 8, 32, 64)]
    cases += [AttentionCase(f'heads {h}', base * 10, 10, h, 16) for h in (1, 2, 8)]
    return cases


_TINY = [
    AttentionCase('table 200 x 5, 2 x 4', 200, 5, 2, 4),
    AttentionCase('graph 200 x 5, 1 x 4', 200, 5, 1, 4, True),
]
_SMALL = [AttentionCase('small: 10,000 x 10, 4 x 32', 10_000, 10, 4, 32)]
# Group -> device -> cases. stage2 and stage1 are those of the targets in docs/performance.md; small: the host
# of a GPU is the limit.
GROUPS: dict[str, dict[str, list[AttentionCase]]] = {
    'tiny': {'cpu': _TINY, 'cuda': _TINY},
    'small': {'cpu': _SMALL, 'cuda': _SMALL},
    'stage2': {
        'cpu': [AttentionCase('stage 2: 50,000 x 10, 4 x 16', 50_000, 10, 4, 16)],
        'cuda': [
            AttentionCase('stage 2: 1,000,000 x 10, 4 x 16', 1_000_000, 10, 4, 16),
            AttentionCase('stage 2: 500,000 x 10, 4 x 32', 500_000, 10, 4, 32),
            AttentionCase('stage 2: 200,000 x 30, 1 x 64', 200_000, 30, 1, 64),
            AttentionCase('stage 2: 500,000 x 10, 2 x 64', 500_000, 10, 2, 64),
        ],
    },
    'stage1': {
        'cpu': [AttentionCase('stage 1: Tolokers, 1 x 4', 11_758, 1_402_498 / 11_758, 1, 4, skewed=True)],
        'cuda': [
            AttentionCase('stage 1: ogbn-proteins, 1 x 8', 132_534, 106e6 / 132_534, 1, 8, skewed=True),
            AttentionCase('stage 1: Amazon2M, 1 x 4', 2_449_029, 197e6 / 2_449_029, 1, 4, skewed=True),
        ],
    },
    'growth': {'cpu': _growth(500), 'cuda': _growth(10_000)},
}
