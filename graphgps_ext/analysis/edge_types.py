"""Which kind of edge the attention goes to."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from graphgps_ext.analysis.kernels import type_rows
from graphgps_ext.analysis.stream import BLOCK_EDGES, NUM_TYPES, node_values, over_nodes
from graphgps_ext.graph import EXPANDER, FROM_VIRTUAL, GRAPH, SELF_LOOP, TO_VIRTUAL
from graphgps_ext.scores import AttentionScores

TYPE_NAMES = {
    GRAPH: 'graph',
    EXPANDER: 'expander',
    SELF_LOOP: 'self-loop',
    TO_VIRTUAL: 'node→virtual',
    FROM_VIRTUAL: 'virtual→node',
}
ALL_EDGES, NO_EXPANDER_EDGES = 'all', 'without expander edges'


def edge_types(scores: AttentionScores) -> list[int]:
    """The edge types that occur, ascending."""
    found: set[int] = set()
    for part in scores.graph.edge_type.split(BLOCK_EDGES):  # `unique` of all would copy and sort them
        found.update(part.unique().tolist())
    return sorted(found)


def edge_sets(scores: AttentionScores) -> dict[str, tuple[int, ...]]:
    """Which edges to look at, as types to drop: all, and all but expander edges if there are both."""
    types = edge_types(scores)
    apart = EXPANDER in types and len(types) > 1
    return {ALL_EDGES: ()} | ({NO_EXPANDER_EDGES: (EXPANDER,)} if apart else {})


def mass_by_edge_type(
    scores: AttentionScores, *, drop_types: Sequence[int] = (), block_edges: int | None = None
) -> pd.DataFrame:
    """Attention mass that goes to each edge type, per layer: Σ p over a node's in-edges of that type.

    Beside it `edge_share`, the share of these edges among a node's in-edges, averaged over nodes: the mass
    they would get from uniform attention; and `ratio`, mean / edge_share. Costs O(E) per layer.

    Returns:
        A row per layer and type that occurs: layer, edge_type, name (types of somebody else's are numbered),
        then the mass over nodes: nodes, mean, std, q10, median, q90; edge_share; ratio.
    """
    present = [t for t in edge_types(scores) if t not in drop_types]
    column = np.zeros(NUM_TYPES, np.int64)
    column[present] = range(len(present))
    rows: list[dict[str, object]] = []
    for layer, weights in enumerate(scores.layers):
        values, _ = node_values(
            scores.graph,
            [weights],
            type_rows,
            (2, len(present)),
            column,
            drop_types=drop_types,
            block_edges=block_edges,
        )
        for i, t in enumerate(present):
            mass, share = over_nodes(values[:, 0, i]), over_nodes(values[:, 1, i])['mean']
            ratio = mass['mean'] / share if share > 0 else float('nan')
            names = {'layer': layer, 'edge_type': t, 'name': TYPE_NAMES.get(t, f'type {t}')}
            rows.append({**names, **mass, 'edge_share': share, 'ratio': ratio})
    return pd.DataFrame(rows)
