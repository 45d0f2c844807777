"""How much attention mass the sampled table of stage 2 keeps, to choose K before training stage 2."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch

from graphgps_ext.analysis.concentration import largest_degree, powers_of_two
from graphgps_ext.analysis.kernels import kept_rows
from graphgps_ext.analysis.stream import BLOCK_EDGES, node_values, over_nodes
from graphgps_ext.ops.numba_threads import row_ranges
from graphgps_ext.sampling import sample_neighbors
from graphgps_ext.sampling.random import stream_key
from graphgps_ext.scores import AttentionScores

# Of sums of float32 scores: 8 of 10 equal ones keep 0.8 of the mass.
ROUNDING = 1e-6


def kept_mass(
    scores: AttentionScores, degrees: Sequence[int] | None = None, *, block_edges: int | None = None
) -> pd.DataFrame:
    """Expected attention mass of a weighted sample of K in-edges without replacement, by the rate equation.

    With p the row of a node: t solves Σ (1 − e^(−p t)) = K, and the sample keeps Σ p (1 − e^(−p t)); all of
    it where at most K in-edges have weight. That is exact if every edge is kept independently at rate t, and
    an approximation of a sample of exactly K: :func:`sampled_kept_mass` measures its error. Costs about ten
    passes of exponentials over the edges of a row per K (Newton's method): O(E) per layer and K.

    Args:
        degrees: the K, from 1 up; default 1, 2, 4, ... up to the largest degree, at most 256.
        block_edges: edges in memory at a time.

    Returns:
        A row per layer and K: layer, degree (K), then over nodes: nodes, mean, std, q10, median, q90.

    Raises:
        ValueError: if a K is below 1.
    """
    ks = _degrees(scores, degrees)
    rows = []
    for layer in range(len(scores.layers)):
        kept = _kept(scores, layer, ks, block_edges)
        rows += [{'layer': layer, 'degree': k, **summary} for k, summary in zip(ks, kept, strict=True)]
    return pd.DataFrame(rows)


def _degrees(scores: AttentionScores, degrees: Sequence[int] | None) -> list[int]:
    if degrees is None:
        return powers_of_two(min(256, largest_degree(scores)))
    if not degrees or min(degrees) < 1:
        raise ValueError(f'degrees need at least one K, all from 1 up, got {list(degrees)}')
    return sorted({*degrees})


def _kept(
    scores: AttentionScores, layer: int, degrees: list[int], block_edges: int | None
) -> list[dict[str, float]]:
    """Summary over nodes of what each K keeps."""
    width, ks = (len(degrees),), np.array(degrees, np.int64)
    vectors = [scores.layers[layer]]
    values, _ = node_values(scores.graph, vectors, kept_rows, width, ks, block_edges=block_edges)
    return [over_nodes(column) for column in values.T]


def sampled_kept_mass(
    scores: AttentionScores,
    degrees: Sequence[int] | None = None,
    *,
    draws: int = 2,
    seed: int = 0,
    block_edges: int | None = None,
) -> pd.DataFrame:
    """The same measured with the sampler of stage 2: mean over nodes and `draws` independent draws.

    Args:
        degrees: see :func:`kept_mass`.
        draws: number of draws, at least 2, for an error.
        seed: of the draws.
        block_edges: edges looked at between two steps of the draw: bounds its memory.

    Returns:
        A row per layer and K: layer, degree, draws, mean, and error, the standard error of that mean over
        draws.

    Raises:
        ValueError: if a K is below 1 or `draws` below 2.
    """
    if draws < 2:
        raise ValueError(f'draws needs to be at least 2, or there is no error to give, got {draws}')
    rows = []
    for layer in range(len(scores.layers)):
        for k in _degrees(scores, degrees):
            mean, error = _sampled(scores, layer, k, draws, seed, block_edges)
            rows.append({'layer': layer, 'degree': k, 'draws': draws, 'mean': mean, 'error': error})
    return pd.DataFrame(rows)


def _sampled(
    scores: AttentionScores, layer: int, degree: int, draws: int, seed: int, block_edges: int | None
) -> tuple[float, float]:
    """Mean over nodes with in-edges of the mass kept, and its standard error over draws."""
    weights, totals, num_nodes = scores.layers[layer], np.zeros(draws), 0
    indptr = scores.graph.indptr
    slots = indptr.numpy() + degree * np.arange(indptr.numel())  # a block holds edges and slots of the table
    for first, last in row_ranges(slots, block_edges or BLOCK_EDGES):
        nodes = torch.arange(first, last)
        row = (nodes - first).repeat_interleave(indptr[first : last + 1].diff())
        edges = weights[indptr[first] : indptr[last]].double()
        mass = torch.zeros(last - first, dtype=torch.float64).index_add_(0, row, edges)
        num_nodes += int((mass > 0).sum())
        for draw in range(draws):
            key = stream_key(seed, draw, layer, degree)
            table = sample_neighbors(
                scores.graph, weights, degree, strategy='weighted', fill='mask', key=key, nodes=nodes
            )
            edge = table.edge_id
            assert edge is not None  # the sampler always gives it
            kept = torch.where(edge >= 0, weights[edge.clamp(min=0)].double(), 0.0).sum(1)
            totals[draw] += float((kept[mass > 0] / mass[mass > 0]).sum())
    if not num_nodes:
        return float('nan'), float('nan')
    means = totals / num_nodes
    return float(means.mean()), float(means.std(ddof=1) / math.sqrt(draws))


def suggest_degrees(
    scores: AttentionScores,
    share: float,
    *,
    draws: int = 4,
    seed: int = 0,
    block_edges: int | None = None,
) -> pd.DataFrame:
    """For each layer the smallest K whose weighted sample keeps `share` of the mass in expectation.

    The rate equation of :func:`kept_mass` gives a first K by bisection; draws of stage 2's sampler then move
    it up or down until K keeps the share and K − 1 does not.

    Args:
        share: of the attention mass, averaged over nodes; in (0, 1).
        draws: draws per K.
        seed: of the draws.

    Returns:
        A row per layer: layer, degree (K), sampled (the mass that draws keep), error (its standard error),
        rate_equation (what that predicts for this K), rate_degree (the K that it alone would give).

    Raises:
        ValueError: if the share lies outside (0, 1).
    """
    if not 0 < share < 1:
        raise ValueError(f'the share of attention mass to keep needs to lie between 0 and 1, got {share}')
    wanted, most = share - ROUNDING, largest_degree(scores)  # the largest degree keeps everything
    rows = []
    for layer in range(len(scores.layers)):

        def expect(k: int, layer: int = layer) -> float:
            return _kept(scores, layer, [k], block_edges)[0]['mean']

        def sample(k: int, layer: int = layer) -> tuple[float, float]:
            return _sampled(scores, layer, k, draws, seed, block_edges)

        by_rate = 1 + bisect_left(range(1, most), wanted, key=expect)
        k, (mean, error) = by_rate, sample(by_rate)
        while mean < wanted and k < most:
            k += 1
            mean, error = sample(k)
        while k > 1 and (below := sample(k - 1))[0] >= wanted:
            k, (mean, error) = k - 1, below
        row = {'layer': layer, 'degree': k, 'sampled': mean, 'error': error}
        rows.append({**row, 'rate_equation': expect(k), 'rate_degree': by_rate})
    return pd.DataFrame(rows)
