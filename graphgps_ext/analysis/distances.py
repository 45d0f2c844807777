"""Distances between two sets of attention scores on the same edges, node by node."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np
import pandas as pd

from graphgps_ext.analysis.kernels import distance_rows, exponential_weights
from graphgps_ext.analysis.stream import Weights, node_values, over_nodes
from graphgps_ext.analysis.tables import named
from graphgps_ext.errors import DataError
from graphgps_ext.graph import InNeighbors
from graphgps_ext.sampling.random import stream_key
from graphgps_ext.scores import AttentionScores

BASELINES = ('uniform', 'random')
_MEASURES = ('energy', 'squared', 'total_variation', 'spearman')


def uniform_weights() -> Weights:
    """The baseline `uniform`: every in-edge of a node has the same weight."""
    return lambda start, stop: np.ones(stop - start)


def random_weights(*seed: int) -> Weights:
    """The baseline `random`: each row is uniform on the simplex, that is Dirichlet(1, ..., 1).

    Made of independent exponential numbers divided by their sum (equally: the soft-max of negated Gumbel
    noise). The number of an edge depends on the seed, such as (seed, layer), and on its position alone.
    """
    key = stream_key(*seed)
    return lambda start, stop: exponential_weights(start, stop, key)


def distances(
    graph: InNeighbors,
    p: Weights,
    q: Weights,
    *,
    drop_types: Sequence[int] = (),
    block_edges: int | None = None,
) -> pd.DataFrame:
    """Distances of two layers of weights on one graph, per node and then averaged.

    With p and q the rows of a node with d in-edges, each divided by its sum:
    `energy` D = √(2 ∫ (F − G)² dx), F and G the distribution functions of the d values p and of the d values
    q; D² = 2 E|X − Y| − E|X − X'| − E|Y − Y'| (Székely & Rizzo 2013; scipy.stats.energy_distance). It ignores
    which edge has which weight. It is exact at any degree: both rows are sorted and merged, O(d log d) time
    and O(d) memory per node instead of the d² pairs of the definition.
    `squared` Σ (p − q)², `total_variation` ½ Σ |p − q|, the mass that would have to move: both edge by edge.
    `spearman` correlation of the ranks within the row (ties share their mean rank), where d ≥ 2 and neither
    row is constant. (No distance: 1 = same order.)

    Args:
        graph: the attention graph.
        p: weights [E] of one layer, or a baseline.
        q: the same of the other.

    Returns:
        A row per measure: measure, then over nodes: nodes, mean, std, q10, median, q90.
    """
    values, _ = node_values(
        graph, [p, q], distance_rows, (len(_MEASURES),), drop_types=drop_types, block_edges=block_edges
    )
    return pd.DataFrame(
        [{'measure': name, **over_nodes(column)} for name, column in zip(_MEASURES, values.T, strict=True)]
    )


def network_distance(
    scores: AttentionScores,
    reference: AttentionScores | str,
    *,
    seed: int = 0,
    drop_types: Sequence[int] = (),
    block_edges: int | None = None,
) -> pd.DataFrame:
    """:func:`distances` between two networks, layer by layer.

    Args:
        scores: of one network.
        reference: of another on the same attention graph, or a baseline: `uniform` or `random`.
        seed: of the random baseline.

    Returns:
        The columns of :func:`distances` after `layer`.

    Raises:
        ValueError: if the two have other edges or another number of layers.
    """
    frames = [
        named(distances(scores.graph, p, q, drop_types=drop_types, block_edges=block_edges), layer=layer)
        for layer, (p, q) in enumerate(zip(scores.layers, _others(scores, reference, seed), strict=True))
    ]
    return pd.concat(frames, ignore_index=True)


def _others(scores: AttentionScores, reference: AttentionScores | str, seed: int) -> Sequence[Weights]:
    """The weights of each layer that those of `scores` are compared with."""
    num_layers = len(scores.layers)
    if isinstance(reference, str):
        if reference not in BASELINES:
            raise ValueError(f'a baseline is one of {", ".join(BASELINES)}, got {reference!r}')
        uniform = reference == 'uniform'
        return [uniform_weights() if uniform else random_weights(seed, layer) for layer in range(num_layers)]
    ours, theirs = scores.manifest, reference.manifest
    if ours.graph_fingerprint != theirs.graph_fingerprint:
        raise DataError(
            f'two networks can be compared on the same edges only: one has {ours.num_edges} attention edges '
            f'of {ours.dataset}, expander degree {ours.expander_degree}, seed {ours.expander_seed}; the '
            f'other {theirs.num_edges} of {theirs.dataset}, expander degree {theirs.expander_degree}, seed '
            f'{theirs.expander_seed} (keys dataset.name, prep.exp, prep.exp_deg, prep.exp_seed)'
        )
    if num_layers != len(reference.layers):
        raise DataError(
            f'two networks need the same number of layers to be compared, got {num_layers} and '
            f'{len(reference.layers)} (key gt.layers)'
        )
    return reference.layers


def layer_agreement(
    scores: AttentionScores, *, drop_types: Sequence[int] = (), block_edges: int | None = None
) -> pd.DataFrame:
    """:func:`distances` between every two layers of a network.

    Returns:
        The columns of :func:`distances` after `layer` and `other_layer`.

    Raises:
        ValueError: if there is one layer only.
    """
    if len(scores.layers) < 2:
        raise DataError(
            f'layers can be compared with each other from 2 on, got {len(scores.layers)} (key gt.layers)'
        )
    frames = []
    for (layer, p), (other, q) in combinations(enumerate(scores.layers), 2):
        frame = distances(scores.graph, p, q, drop_types=drop_types, block_edges=block_edges)
        frames.append(named(frame, layer=layer, other_layer=other))
    return pd.concat(frames, ignore_index=True)
