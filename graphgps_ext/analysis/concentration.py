"""How concentrated the attention of a node is: entropy, effective number of neighbours, top-k coverage."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd

from graphgps_ext.analysis.kernels import coverage_rows, entropy_rows
from graphgps_ext.analysis.stream import node_values, over_nodes
from graphgps_ext.scores import AttentionScores

SHARES = (0.05, 0.1, 0.2, 0.3, 0.5, 0.75)
_COVERED = 0.9  # of a node's mass: what counts as covered


def largest_degree(scores: AttentionScores) -> int:
    """The largest number of in-edges of a node, at least 1."""
    return max(1, int(scores.graph.degree().max()) if scores.graph.num_nodes else 1)


def powers_of_two(most: int) -> list[int]:
    """1, 2, 4, ... up to the first that is not below `most`, which is at least 1."""
    return [2**i for i in range((most - 1).bit_length() + 1)]


def entropy(
    scores: AttentionScores, *, drop_types: Sequence[int] = (), block_edges: int | None = None
) -> pd.DataFrame:
    """Entropy of the attention of a node, and the effective number of its neighbours, per layer.

    With p the weights of the d in-edges of a node (a row, divided by its sum):
    `entropy` H = −Σ p log p in nats; `relative_entropy` H / log d, 1 = uniform, where d ≥ 2;
    `perplexity` e^H and `inverse_simpson` 1 / Σ p², two effective numbers of neighbours: both are k if k
    neighbours share the mass evenly, and the second counts small weights less; `relative_perplexity` e^H / d.
    Costs O(E) per layer.

    Returns:
        A row per layer and measure: layer, measure, then over nodes: nodes, mean, std, q10, median, q90.
    """
    rows = []
    for layer, weights in enumerate(scores.layers):
        values, degree = node_values(
            scores.graph, [weights], entropy_rows, (2,), drop_types=drop_types, block_edges=block_edges
        )
        found, squares = values.T  # NaN where a node has no in-edges
        measures = {
            'entropy': found,
            'relative_entropy': found / np.log(np.where(degree > 1, degree, np.nan)),
            'perplexity': np.exp(found),
            'inverse_simpson': 1 / squares,
            'relative_perplexity': np.exp(found) / degree,
        }
        rows += [{'layer': layer, 'measure': name, **over_nodes(m)} for name, m in measures.items()]
    return pd.DataFrame(rows)


def topk_coverage(
    scores: AttentionScores,
    *,
    counts: Sequence[int] | None = None,
    shares: Sequence[float] = SHARES,
    drop_types: Sequence[int] = (),
    block_edges: int | None = None,
) -> pd.DataFrame:
    """Mass of the k largest weights of a node, for several k and for k = ceil(share · degree).

    A node with k in-edges or fewer is covered whole and tells nothing about its attention; `mean_above` and
    `covered_above` leave it out. Costs O(E log d) per layer.

    Args:
        counts: the k; default 1, 2, 4, 8, ... up to the largest degree.
        shares: of the degree, above 0 and up to 1.

    Returns:
        A row per layer and k or share: layer, kind (`count` or `share`), k (the count or the share), then
        over nodes: nodes, mean, std, q10, median, q90; over those with more than k in-edges: nodes_above,
        mean_above, and covered_above, the share of them whose k largest hold at least 90 % of the mass.

    Raises:
        ValueError: if a count is below 1 or a share outside (0, 1].
    """
    counts = powers_of_two(largest_degree(scores)) if counts is None else list(counts)
    if any(k < 1 for k in counts) or any(not 0 < share <= 1 for share in shares):
        raise ValueError(
            f'counts need to be at least 1 and shares in (0, 1], got {counts} and {list(shares)}'
        )
    kinds = [('count', k) for k in counts] + [('share', share) for share in shares]
    ks, width = (np.array(counts, np.int64), np.array(shares, float)), (len(kinds),)
    rows = []
    for layer, weights in enumerate(scores.layers):
        mass, degree = node_values(
            scores.graph,
            [weights],
            coverage_rows,
            width,
            *ks,
            drop_types=drop_types,
            block_edges=block_edges,
        )
        for (kind, k), covered in zip(kinds, mass.T, strict=True):
            limit = k if kind == 'count' else np.maximum(np.ceil(np.round(k * degree, 9)), 1)
            above = covered[degree > limit]
            rows.append(
                {
                    'layer': layer,
                    'kind': kind,
                    'k': k,
                    **over_nodes(covered),
                    'nodes_above': above.size,
                    'mean_above': above.mean() if above.size else math.nan,
                    'covered_above': (above >= _COVERED).mean() if above.size else math.nan,
                }
            )
    return pd.DataFrame(rows)
