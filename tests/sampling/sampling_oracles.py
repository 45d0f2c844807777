"""Slow and obvious versions of what graphgps_ext.sampling computes."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from graphgps_ext.graph import InNeighbors, NeighborTable
from graphgps_ext.sampling.random import GOLDEN, MASK, MIX_1, MIX_2, NODE_STEP, UNIFORM_BITS, mix_int, signed


def mix(value: Tensor) -> Tensor:
    """`mix_int` for an int64 tensor of any shape."""
    value = (value ^ logical_shift(value, 30)) * signed(MIX_1)
    value = (value ^ logical_shift(value, 27)) * signed(MIX_2)
    return value ^ logical_shift(value, 31)


def logical_shift(value: Tensor, bits: int) -> Tensor:
    """Right shift which fills with zeros; torch's own copies the sign of an int64."""
    return (value >> bits) & (MASK >> bits)


def row_key(key: int, node: Tensor) -> Tensor:
    """int64 like `node`: the start of each node's stream under `key`."""
    return mix(node * signed(NODE_STEP) ^ signed(mix_int(key)))


def uniform(row: Tensor, slot: Tensor) -> Tensor:
    """float64 in the open interval (0, 1): number `slot` of the streams that start at `row` (both int64)."""
    bits = mix(row + (slot + 1) * signed(GOLDEN))
    return (logical_shift(bits, 64 - UNIFORM_BITS).double() + 0.5) * 2.0**-UNIFORM_BITS


def draw_oracle(
    graph: InNeighbors,
    weights: Tensor | None,
    degree: int,
    strategy: str,
    fill: str,
    key: int,
    nodes: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor]:
    """source, edge_type and edge_id, each [n, K]: a sort of each row by exponent and 30 bits of its keys."""
    edge_id = torch.full((graph.num_nodes if nodes is None else nodes.numel(), degree), -1)
    for row, node in enumerate(range(graph.num_nodes) if nodes is None else nodes.tolist()):
        begin, end = graph.indptr[node].item(), graph.indptr[node + 1].item()
        stream, slot = row_key(key, torch.tensor(node)), torch.arange(end - begin)
        weight = torch.ones(end - begin) if weights is None else weights[begin:end]
        keys = torch.ones(end - begin).double() if strategy == 'top' else -uniform(stream, slot).log()
        keys = (keys / weight.double()).view(torch.int64) >> 22
        drawable = (weight > 0).nonzero().squeeze(1)
        chosen = drawable[keys[drawable].argsort(stable=True)][:degree].sort().values.tolist()
        if fill == 'repeat' and 0 < len(chosen) < degree:
            sums = list(itertools.accumulate(weight[chosen].double().tolist()))
            for k in range(len(chosen), degree):
                at = uniform(stream, torch.tensor(end - begin + k)).item() * sums[-1]
                chosen.append(chosen[sum(s <= at for s in sums[:-1])])
        edge_id[row, : len(chosen)] = begin + torch.tensor(chosen, dtype=torch.int64)
    taken = edge_id >= 0
    source = edge_id.new_full(edge_id.shape, -1, dtype=graph.source.dtype)
    source[taken] = graph.source[edge_id[taken]]
    edge_type = edge_id.new_zeros(edge_id.shape, dtype=torch.int8)
    edge_type[taken] = graph.edge_type[edge_id[taken]]
    return source, edge_type, edge_id


def graph_of_rows(rows: Sequence[Sequence[int]], num_sources: int | None = None) -> InNeighbors:
    """A graph from the list of sources of each node; types count 0, 1, 2, 0, ... along the edges."""
    source = [node for row in rows for node in row]
    indptr = torch.tensor([0, *itertools.accumulate(len(row) for row in rows)])
    return InNeighbors(
        indptr,
        torch.tensor(source, dtype=torch.int32),
        (torch.arange(len(source)) % 3).to(torch.int8),
        len(rows) if num_sources is None else num_sources,
    )


def draw_order_probabilities(weights: Sequence[float], size: int) -> dict[tuple[int, ...], float]:
    """Plackett–Luce: the probability of each ordered draw of `size` items without replacement."""
    drawable = [item for item, weight in enumerate(weights) if weight > 0]
    probabilities = {}
    for order in itertools.permutations(drawable, min(size, len(drawable))):
        left = list(weights)
        probability = 1.0
        for item in order:
            probability *= weights[item] / math.fsum(left)
            left[item] = 0.0
        probabilities[order] = probability
    return probabilities


def subset_probabilities(weights: Sequence[float], size: int) -> dict[tuple[int, ...], float]:
    """The probability of each set of `size` items drawn without replacement, keyed by its sorted items."""
    sets: dict[tuple[int, ...], float] = {}
    for order, probability in draw_order_probabilities(weights, size).items():
        items = tuple(sorted(order))
        sets[items] = sets.get(items, 0.0) + probability
    return sets


def top_edges(weights: Sequence[float], size: int) -> list[int]:
    """Positions of the largest positive weights, ascending; of equal weights the earlier one."""
    drawable = [item for item, weight in enumerate(weights) if weight > 0]
    return sorted(sorted(drawable, key=lambda item: (-weights[item], item))[:size])


def layered_neighborhood_oracle(
    seeds: list[int], draw: Callable[[int, Tensor], NeighborTable], num_layers: int
) -> tuple[list[int], list[list[list[int]]]]:
    """Nodes in order of first appearance and each layer's local neighbours (-1 = none), with a dictionary."""
    local = {node: i for i, node in enumerate(seeds)}
    tables: list[list[list[int]]] = []
    for layer in reversed(range(num_layers)):
        rows = draw(layer, torch.tensor(list(local), dtype=torch.int64)).source.tolist()
        for row in rows:
            for node in row:
                if node >= 0:
                    local.setdefault(node, len(local))
        tables.insert(0, [[local[node] if node >= 0 else -1 for node in row] for row in rows])
    return list(local), tables


def random_graph(num_nodes: int, max_degree: int, seed: int = 0) -> tuple[InNeighbors, Tensor]:
    """Rows of every length from 0 to max_degree, the last one empty; a fifth of the weights is zero."""
    generator = torch.Generator().manual_seed(seed)
    length = torch.randint(0, max_degree + 1, (num_nodes,), generator=generator)
    length[:: max(1, num_nodes // 5)] = max_degree
    length[-1] = 0
    indptr = torch.cat([torch.zeros(1, dtype=torch.int64), length.cumsum(0)])
    num_edges = int(indptr[-1])
    source = torch.randint(0, num_nodes, (num_edges,), generator=generator, dtype=torch.int32)
    edge_type = torch.randint(0, 3, (num_edges,), generator=generator, dtype=torch.int8)
    weights = torch.rand(num_edges, generator=generator).pow(4)
    weights[torch.rand(num_edges, generator=generator) < 0.2] = 0
    return InNeighbors(indptr, source, edge_type, num_nodes), weights


def equal(first: NeighborTable, second: NeighborTable) -> bool:
    return all(
        torch.equal(getattr(first, name), getattr(second, name))
        for name in ('source', 'edge_type', 'edge_id')
    )


def check_table(graph: InNeighbors, weights: Tensor | None, table: NeighborTable, nodes: Tensor, fill: str):
    """What holds for every draw."""
    assert table.edge_id is not None
    degree = table.width
    assert table.source.shape == table.edge_id.shape == (nodes.numel(), degree)
    assert table.source.dtype == graph.source.dtype
    assert table.edge_id.dtype == torch.int64
    assert table.num_sources == graph.num_sources
    for node, row, neighbors, types in zip(
        nodes.tolist(),
        table.edge_id.tolist(),
        table.source.tolist(),
        table.edge_type.tolist(),
        strict=True,
    ):
        edges = [edge for edge in row if edge >= 0]
        begin, end = graph.indptr[node].item(), graph.indptr[node + 1].item()
        drawable = [e for e in range(begin, end) if weights is None or weights[e] > 0]
        distinct = min(degree, len(drawable))
        assert set(edges) <= set(drawable)
        assert row[:distinct] == sorted(set(row[:distinct]))  # ascending, no duplicate
        expected = degree if fill == 'repeat' and drawable else distinct
        assert row == edges + [-1] * (degree - expected)
        assert neighbors == [int(graph.source[e]) for e in edges] + [-1] * (degree - expected)
        assert types == [int(graph.edge_type[e]) for e in edges] + [0] * (degree - expected)


def excess(counts: Counter, probabilities: dict, rare: float = 5.0) -> float:
    """How far chi-square lies above its mean, in standard deviations; infinite for an impossible outcome.

    Outcomes expected fewer than `rare` times are counted as one.
    """
    if set(counts) - set(probabilities):
        return math.inf
    total = sum(counts.values())
    cells = {item: (counts[item], total * p) for item, p in probabilities.items() if total * p >= rare}
    rest = (
        total - sum(n for n, _ in cells.values()),
        total - sum(expected for _, expected in cells.values()),
    )
    both = [*cells.values(), *([rest] if rest[1] > 0.01 else [])]
    chi_square = sum((n - expected) ** 2 / expected for n, expected in both)
    return (chi_square - (len(both) - 1)) / math.sqrt(2 * max(len(both) - 1, 1))
