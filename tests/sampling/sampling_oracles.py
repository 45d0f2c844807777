"""Slow and obvious versions of what graphgps_ext.sampling computes."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from graphgps_ext.ops.neighbors import InNeighbors, NeighborTable


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
        left = sum(weights)
        probability = 1.0
        for item in order:
            probability *= weights[item] / left
            left -= weights[item]
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
        rows = draw(layer, torch.tensor(list(local), dtype=torch.int64)).neighbors.tolist()
        for row in rows:
            for node in row:
                if node >= 0:
                    local.setdefault(node, len(local))
        tables.insert(0, [[local[node] if node >= 0 else -1 for node in row] for row in rows])
    return list(local), tables
