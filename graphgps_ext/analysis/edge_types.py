"""Which kind of edge the attention goes to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from graphgps_ext.analysis.kernels import type_rows
from graphgps_ext.analysis.stream import BLOCK_EDGES, RowBlock, node_values, over_nodes
from graphgps_ext.graph import EXPANDER, FROM_VIRTUAL, GRAPH, SELF_LOOP, TO_VIRTUAL
from graphgps_ext.scores import AttentionScores

TYPE_NAMES = {
    GRAPH: 'graph',
    EXPANDER: 'expander',
    SELF_LOOP: 'self-loop',
    TO_VIRTUAL: 'node→virtual',
    FROM_VIRTUAL: 'virtual→node',
}


def edge_types(scores: AttentionScores) -> list[int]:
    """The edge types that occur, ascending."""
    found: set[int] = set()
    for part in scores.graph.edge_type.split(BLOCK_EDGES):  # `unique` of all would copy and sort them
        found.update(part.unique().tolist())
    return sorted(found)


def type_name(edge_type: int) -> str:
    """In words; types of somebody else's are numbered."""
    return TYPE_NAMES.get(edge_type, f'type {edge_type}')


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
    width = (2, len(present))

    def by_type(block: RowBlock) -> NDArray[np.float64]:
        of_all = (2, max(present, default=0) + 1)
        return block.per_row(type_rows, block.edge_type, block.weights[0], width=of_all)[:, :, present]

    options: Any = {'drop_types': drop_types, 'block_edges': block_edges}
    rows = []
    for layer, weights in enumerate(scores.layers):
        values, _ = node_values(scores.graph, [weights], by_type, width, **options)
        for i, t in enumerate(present):
            columns, uniform = over_nodes(values[:, 0, i]), over_nodes(values[:, 1, i])['mean']
            ratio = columns['mean'] / uniform if uniform > 0 else float('nan')
            names: dict[str, object] = {'layer': layer, 'edge_type': t, 'name': type_name(t)}
            rows.append(names | columns | {'edge_share': uniform, 'ratio': ratio})
    return pd.DataFrame(rows)
