"""Compiled loops over rows (numba). Private: the functions that call them check the input.

The measures take a block of rows in CSR form, `indptr` [n + 1] from 0 and the type of each edge, with weights
that sum to one in each row, and fill the rows `first:last` of `out`; NaN where a measure is not defined. Sums
are in float64 and in the order of the row, so that a result depends on neither the number of threads nor the
size of a block.
"""

from __future__ import annotations

import math

import numpy as np

from graphgps_ext.ops.numba_threads import kernel
from graphgps_ext.sampling.kernels import row_key, uniform
from graphgps_ext.sampling.random import mix_int

_NEWTON_STEPS = 200  # a bound; the quadratic end is reached in about ten


@kernel(fastmath=False)
def normalize_rows(indptr, edge_type, keep, weights):
    """The edges of the types in `keep` with each row divided by its sum; rows without mass become empty.

    weights is [V, e]: a row without mass in one of the V vectors is emptied in all.
    """
    num_vectors, num_edges = weights.shape
    num_rows = indptr.size - 1
    new_indptr = np.zeros(num_rows + 1, np.int64)
    position = np.empty(num_edges, np.int64)
    new_weights = np.empty((num_vectors, num_edges), np.float64)
    count = 0
    for row in range(num_rows):
        start = count
        for edge in range(indptr[row], indptr[row + 1]):
            if keep[edge_type[edge]]:
                position[count] = edge
                count += 1
        for v in range(num_vectors):
            total = 0.0
            for i in range(start, count):
                total += weights[v, position[i]]
            if not total > 0.0:
                count = start
                break
            for i in range(start, count):
                new_weights[v, i] = weights[v, position[i]] / total
        new_indptr[row + 1] = count
    return new_indptr, edge_type[position[:count]], new_weights[:, :count]


@kernel(fastmath=False)
def entropy_rows(indptr, edge_type, weights, first, last, out):
    """out [n, 2]: Shannon entropy in nats, and Σ p²."""
    for row in range(first, last):
        out[row, :] = np.nan
        if indptr[row] == indptr[row + 1]:
            continue
        entropy = squares = 0.0
        for p in weights[indptr[row] : indptr[row + 1]]:
            if p > 0.0:
                entropy -= p * math.log(p)
            squares += p * p
        out[row, 0], out[row, 1] = max(entropy, 0.0), squares


@kernel(fastmath=False)
def coverage_rows(indptr, edge_type, weights, counts, shares, first, last, out):
    """out [n, k + s]: mass of the `counts` largest weights, then of the ceil(share · degree) largest."""
    for row in range(first, last):
        out[row, :] = np.nan
        degree = indptr[row + 1] - indptr[row]
        if degree == 0:
            continue
        mass = np.cumsum(np.sort(weights[indptr[row] : indptr[row + 1]])[::-1])
        for i in range(counts.size):
            out[row, i] = min(mass[min(counts[i], degree) - 1], 1.0)
        for i in range(shares.size):
            # Rounded first, or 0.1 · 30 = 3.0000000000000004 would count as four.
            count = math.ceil(round(shares[i] * degree, 9))
            out[row, counts.size + i] = min(mass[max(count, 1) - 1], 1.0)


@kernel(fastmath=False)
def _ranks(values):
    """Ranks from 1 up; equal values share the mean of their ranks."""
    order = np.argsort(values)
    ranks = np.empty(values.size, np.float64)
    i = 0
    while i < values.size:
        j = i + 1
        while j < values.size and values[order[j]] == values[order[i]]:
            j += 1
        for k in range(i, j):
            ranks[order[k]] = (i + j + 1) / 2.0
        i = j
    return ranks


@kernel(fastmath=False)
def _rank_correlation(p, q):
    """Pearson correlation of the ranks; NaN where there are fewer than 2 different values."""
    a, b = _ranks(p), _ranks(q)
    middle = (p.size + 1) / 2.0
    ab = aa = bb = 0.0
    for i in range(a.size):
        x, y = a[i] - middle, b[i] - middle
        ab += x * y
        aa += x * x
        bb += y * y
    return ab / math.sqrt(aa * bb) if aa > 0.0 and bb > 0.0 else np.nan


@kernel(fastmath=False)
def distance_rows(indptr, edge_type, p, q, first, last, out):
    """out [n, 4]: energy distance of the sets of values, Σ (p − q)², total variation, rank correlation."""
    for row in range(first, last):
        out[row, :] = np.nan
        start, degree = indptr[row], indptr[row + 1] - indptr[row]
        if degree == 0:
            continue
        squares = absolute = 0.0
        for edge in range(start, start + degree):
            difference = p[edge] - q[edge]
            squares += difference * difference
            absolute += abs(difference)
        a, b = np.sort(p[start : start + degree]), np.sort(q[start : start + degree])
        integral = 0.0  # of (F − G)², a step function: F = i / d and G = j / d between two values
        i = j = 0
        at = min(a[0], b[0])
        while i < degree or j < degree:
            value = a[i] if j == degree or (i < degree and a[i] <= b[j]) else b[j]
            step = float(i - j) / degree
            integral += (value - at) * step * step
            at = value
            while i < degree and a[i] == value:
                i += 1
            while j < degree and b[j] == value:
                j += 1
        out[row, 0], out[row, 1], out[row, 2] = math.sqrt(2.0 * integral), squares, absolute / 2.0
        out[row, 3] = _rank_correlation(p[start : start + degree], q[start : start + degree])


@kernel(fastmath=False)
def type_rows(indptr, edge_type, weights, column, first, last, out):
    """out [n, 2, T]: mass, and share of the in-edges, of the edge types; type t in column[t]."""
    for row in range(first, last):
        degree = indptr[row + 1] - indptr[row]
        out[row] = np.nan if degree == 0 else 0.0
        for edge in range(indptr[row], indptr[row + 1]):
            out[row, 0, column[edge_type[edge]]] += weights[edge]
            out[row, 1, column[edge_type[edge]]] += 1.0 / degree


@kernel(fastmath=False)
def kept_rows(indptr, edge_type, weights, degrees, first, last, out):
    """out [n, k]: Σ p (1 − e^(−p t)) at the t that solves Σ (1 − e^(−p t)) = K, for ascending K = `degrees`.

    The left side is concave in t, so Newton's method from below never oversteps; each K starts at the last t.
    """
    for row in range(first, last):
        out[row, :] = np.nan
        if indptr[row] == indptr[row + 1]:
            continue
        drawable = 0
        for edge in range(indptr[row], indptr[row + 1]):
            drawable += weights[edge] > 0.0
        t = 0.0
        for i in range(degrees.size):
            if degrees[i] >= drawable:
                out[row, i] = 1.0
                continue
            for _ in range(_NEWTON_STEPS):
                number = slope = 0.0
                for edge in range(indptr[row], indptr[row + 1]):
                    left = math.exp(-weights[edge] * t)
                    number += 1.0 - left
                    slope += weights[edge] * left
                missing = degrees[i] - number
                if missing <= 1e-7 * degrees[i] or slope <= 0.0:
                    break
                t += missing / slope
            mass = 0.0
            for edge in range(indptr[row], indptr[row + 1]):
                mass += weights[edge] * (1.0 - math.exp(-weights[edge] * t))
            out[row, i] = min(mass, 1.0)


@kernel(fastmath=False)
def _exponential(start, mixed_key, out):
    for i in range(out.size):
        out[i] = -math.log(uniform(row_key(mixed_key, start + i), 0))


def exponential_weights(start: int, stop: int, key: int) -> np.ndarray:
    """Exponential random numbers [stop − start], float64, each a function of (key, position) alone."""
    out = np.empty(stop - start)
    _exponential(start, np.uint64(mix_int(key)), out)
    return out
