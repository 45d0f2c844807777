"""The exponential of the CPU kernels against numpy's in float64."""

from __future__ import annotations

import numpy as np
import pytest
from numba import njit

from graphgps_ext.ops import numba_kernels

LEAST, GREATEST = np.float32(-87), np.float32(88)


@njit
def fill(x, out):
    for i in range(x.size):
        out[i] = numba_kernels.exp(x[i])


def exp(x: np.ndarray) -> np.ndarray:
    out = np.empty_like(x)
    fill(x, out)
    return out


def every(step: int) -> np.ndarray:
    """Every step-th float32 from -87 to 88 with a magnitude of at least 2^-30, and a grid of equal steps."""
    tiny = int(np.float32(2.0**-30).view(np.int32))
    parts = [np.linspace(LEAST, GREATEST, 2**20, dtype=np.float32)]
    for sign, end in ((1, GREATEST), (-1, LEAST)):
        bits = np.arange(tiny, int(abs(end).view(np.int32)) + 1, step, dtype=np.int32)
        parts.append(np.float32(sign) * bits.view(np.float32))
    return np.concatenate(parts)


def test_the_error_is_at_most_1_03_units_in_the_last_place() -> None:
    x = every(step=509)  # of 600 million; all of them were tried when the bound was set
    true = np.exp(x.astype(np.float64))
    unit = np.spacing(true.astype(np.float32)).astype(np.float64)
    assert (np.abs(exp(x) - true) / unit).max() <= 1.03


@pytest.mark.parametrize('x', [-np.inf, -3e38, -1e4, np.nextafter(LEAST, np.float32(-100))])
def test_below_the_least_argument_it_is_zero(x: float) -> None:
    assert exp(np.full(33, x, np.float32)).tolist() == [0.0] * 33


@pytest.mark.parametrize('x', [0.0, -0.0, 1e-30, -1e-30])
def test_around_zero_it_is_one(x: float) -> None:
    assert exp(np.full(33, x, np.float32)).tolist() == [1.0] * 33


def test_a_nan_stays() -> None:
    assert np.isnan(exp(np.full(33, np.nan, np.float32))).all()
