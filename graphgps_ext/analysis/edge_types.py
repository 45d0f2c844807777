"""Which kind of edge the attention goes to."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from graphgps_ext.analysis.kernels import type_rows
from graphgps_ext.analysis.stream import BLOCK_EDGES, Summary, row_blocks
from graphgps_ext.scores import AttentionScores

TYPE_NAMES = ('graph', 'expander', 'self-loop', 'node→virtual', 'virtual→node')
EXPANDER = 1


def edge_types(scores: AttentionScores) -> list[int]:
    """The edge types that occur, ascending."""
    found: set[int] = set()
    for part in scores.graph.edge_type.split(BLOCK_EDGES):  # `unique` of all would copy and sort them
        found.update(part.unique().tolist())
    return sorted(found)


def type_name(edge_type: int) -> str:
    """In words; types of somebody else's are numbered."""
    return TYPE_NAMES[edge_type] if edge_type < len(TYPE_NAMES) else f'type {edge_type}'


def mass_by_edge_type(
    scores: AttentionScores, *, drop_types: Sequence[int] = (), block_edges: int | None = None
) -> pd.DataFrame:
    """Attention mass that goes to each edge type, per layer: Σ p over a node's in-edges of that type.

    Beside it `edge_share`, the share of these edges among a node's in-edges, averaged over nodes: the mass
    they would get from uniform attention; and `ratio`, mean / edge_share. Costs O(E) per layer.

    Args:
        scores: of any network.
        drop_types: edges left out, the rest of a row divided by its sum.
        block_edges: edges in memory at a time.

    Returns:
        A row per layer and type that occurs: layer, edge_type, name, then the mass over nodes: nodes, mean,
        std, q10, median, q90; edge_share; ratio.
    """
    present = [t for t in edge_types(scores) if t not in drop_types]
    rows = []
    for layer, weights in enumerate(scores.layers):
        mass, share = {t: Summary(1.0) for t in present}, {t: Summary(1.0) for t in present}
        for block in row_blocks(scores.graph, [weights], drop_types=drop_types, block_edges=block_edges):
            width = (2, max(present, default=0) + 1)
            found = block.per_row(type_rows, block.edge_type, block.weights[0], width=width)
            for t in present:
                mass[t].add(found[:, 0, t])
                share[t].add(found[:, 1, t])
        for t in present:
            columns, uniform = mass[t].columns(), share[t].mean
            ratio = columns['mean'] / uniform if uniform > 0 else float('nan')
            names: dict[str, object] = {'layer': layer, 'edge_type': t, 'name': type_name(t)}
            rows.append(names | columns | {'edge_share': uniform, 'ratio': ratio})
    return pd.DataFrame(rows)
