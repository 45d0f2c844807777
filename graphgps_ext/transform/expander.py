"""Expander edges: a sparse random regular graph, the long-range part of the attention graph.

A union of r random permutations (or Hamiltonian cycles), each taken in both directions, is with high
probability an expander: its spectral gap is almost as large as that of any 2r-regular graph can be (Friedman
2003). Used as in Exphormer (arXiv 2303.06147) and Spexphormer (arXiv 2411.16278).
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.linalg import eigvalsh_tridiagonal
from scipy.sparse import csr_array
from torch import Tensor

from graphgps_ext.errors import ConfigError, DataError
from graphgps_ext.graph import INT32_MAX

ExpanderAlgorithm = Literal['permutation', 'hamiltonian']
ALGORITHMS: tuple[ExpanderAlgorithm, ...] = ('permutation', 'hamiltonian')

# After m steps the Ritz value of a good draw is about cos(π / (m + 1)) of the eigenvalue: 3 % low at twelve.
# What must be rejected stands out: a disconnected draw by a factor √(2r − 1) more with each step.
_LANCZOS_STEPS = 12


def expander_table(
    num_nodes: int,
    degree: int,
    *,
    algorithm: ExpanderAlgorithm = 'permutation',
    seed: int = 0,
    check_max_nodes: int = 20_000,
    max_tries: int = 10,
) -> Tensor:
    """Draw the expander: r = `degree` permutations or Hamiltonian cycles, each in both directions.

    Row i holds the in-neighbours of node i: column 2k is π_k(i), column 2k + 1 is π_k⁻¹(i). Two permutations
    may agree, so the expander is a multigraph. With N ≤ 2r it is the complete graph instead. A draw is a
    function of the arguments alone: it neither reads nor moves any global random state.

    Up to `check_max_nodes` nodes, a draw is repeated until it passes :func:`has_spectral_gap`; above it, a
    draw passes with overwhelming probability. With r = 1 the bound is void (2r − 2·sqrt(2r − 1) = 0): one
    permutation is a union of cycles and nearly always disconnected, one Hamiltonian cycle is a ring.

    Args:
        num_nodes: N.
        degree: r; a node gets 2r in-neighbours, less the fixed points of its permutations.
        algorithm: `permutation` or `hamiltonian` (a random cyclic order of all nodes).
        seed: seed of the draw; try t uses the sub-seed (seed, t).
        check_max_nodes: largest N for which the spectral gap is checked; 0 = never.
        max_tries: draws before giving up.

    Returns:
        [N, 2r] (complete graph: [N, N - 1]), int32 below 2³¹ nodes, else int64; -1 where a fixed point of a
        permutation was removed.

    Raises:
        ValueError: if an argument is out of range.
        ConfigError: if no draw passes the check.
    """
    if num_nodes < 1:
        raise DataError(f'num_nodes needs to be at least 1, got {num_nodes} (key dataset.name)')
    if degree < 1:
        raise ConfigError(f'the expander degree needs to be at least 1, got {degree} (key prep.exp_deg)')
    if algorithm not in ALGORITHMS:
        raise ConfigError(
            f'the expander algorithm needs to be one of {", ".join(ALGORITHMS)}, got {algorithm!r} '
            '(key prep.exp_algorithm)'
        )
    if seed < 0:
        raise ConfigError(f'the expander seed needs to be at least 0, got {seed} (key prep.exp_seed)')
    if max_tries < 1:
        raise ConfigError(f'max_tries needs to be at least 1, got {max_tries}')
    nodes: NDArray[Any] = np.arange(num_nodes, dtype=np.int32 if num_nodes <= INT32_MAX else np.int64)
    if num_nodes <= 2 * degree:
        others = (nodes[:, None] + 1 + nodes[None, : num_nodes - 1]) % num_nodes
        return torch.from_numpy(np.sort(others, axis=1))
    for attempt in range(max_tries):
        table = _draw(nodes, degree, algorithm, np.random.default_rng([seed, attempt]))
        if num_nodes > check_max_nodes or has_spectral_gap(torch.from_numpy(table)):
            table[table == nodes[:, None]] = -1
            return torch.from_numpy(table)
    raise ConfigError(
        f'no expander of degree {degree} on {num_nodes} nodes reached the spectral gap '
        f'{2 * degree - _largest_accepted(degree):.3f} in {max_tries} tries '
        '(raise prep.exp_deg or change prep.exp_seed)'
    )


def has_spectral_gap(table: Tensor) -> bool:
    """Whether the 2r-regular multigraph of `table` is close to the best spectral gap it can have.

    Wanted is a second-smallest Laplacian eigenvalue of at least 2r − 2·sqrt(2r − 1) − 0.1, that is a largest
    adjacency eigenvalue, the trivial one aside, of at most 2·sqrt(2r − 1) + 0.1. It is estimated from below,
    by few Lanczos steps orthogonal to the constant vector: enough to reject disconnected and poor draws at
    the price of a draw, while a value just above the bound may pass.

    Args:
        table: [N, 2r] in-neighbours with the fixed points kept: as loops they make the graph regular, and
            they cancel in the Laplacian.
    """
    return second_eigenvalue(table) <= _largest_accepted(table.shape[1] // 2)


def second_eigenvalue(table: Tensor, steps: int = _LANCZOS_STEPS) -> float:
    """Second-largest adjacency eigenvalue of a regular undirected multigraph, from below.

    Args:
        table: [N, 2r] in-neighbours without empty slots.
        steps: Lanczos steps; exact from N - 1 on (up to rounding).
    """
    num_nodes, width = table.shape
    source = table.numpy().ravel()
    # Rather than scipy's eigsh: a fixed number of products, no convergence to wait for.
    indptr = np.arange(
        0, source.size + 1, width, dtype=source.dtype if source.size <= INT32_MAX else np.int64
    )
    adjacency = csr_array((np.ones(source.size, np.float32), source, indptr), shape=(num_nodes, num_nodes))
    vector = np.random.default_rng(0).standard_normal(num_nodes, dtype=np.float32)
    vector -= vector.mean()
    vector /= np.linalg.norm(vector)
    previous, norm = np.zeros_like(vector), 0.0
    diagonal: list[float] = []
    off_diagonal: list[float] = []
    for _ in range(min(steps, num_nodes - 1)):
        product = adjacency @ vector - np.float32(norm) * previous
        diagonal.append(float(product @ vector))
        product -= np.float32(diagonal[-1]) * vector
        product -= product.mean()
        norm = float(np.linalg.norm(product))
        off_diagonal.append(norm)
        if norm < 1e-4 * width:  # an invariant subspace: the values found are exact
            break
        previous, vector = vector, product / np.float32(norm)
    return float(eigvalsh_tridiagonal(np.array(diagonal), np.array(off_diagonal[: len(diagonal) - 1]))[-1])


def _largest_accepted(degree: int) -> float:
    return 2 * (2 * degree - 1) ** 0.5 + 0.1


def _draw(
    nodes: NDArray[Any], degree: int, algorithm: ExpanderAlgorithm, generator: np.random.Generator
) -> NDArray[Any]:
    """[N, 2r] permutations beside their inverses, fixed points kept."""
    columns = np.empty((2 * degree, nodes.size), nodes.dtype)
    for forward, inverse in zip(columns[::2], columns[1::2], strict=True):
        order = generator.permutation(nodes)
        if algorithm == 'permutation':
            forward[:] = order
        else:
            forward[order] = np.roll(order, -1)
        inverse[forward] = nodes
    return np.ascontiguousarray(columns.T)
