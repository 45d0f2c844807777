"""Spread over seeds."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy.stats import t


def confidence_interval(values: Sequence[float], level: float = 0.95) -> tuple[float, float, float]:
    """Mean with Student's interval m ± t_(n−1) · s / √n; NaN bounds for a single value.

    Args:
        values: one per seed; NaN are left out.
        level: of confidence.

    Returns:
        mean, low, high.
    """
    known = np.asarray(values, float)
    known = known[~np.isnan(known)]
    if not known.size:
        return (math.nan,) * 3
    mean = float(known.mean())
    if known.size == 1:
        return mean, math.nan, math.nan
    half = float(t.ppf((1 + level) / 2, known.size - 1)) * float(known.std(ddof=1)) / math.sqrt(known.size)
    return mean, mean - half, mean + half


def over_runs(frame: pd.DataFrame, value: str = 'mean', level: float = 0.95) -> pd.DataFrame:
    """Mean and confidence interval over runs of a tidy table with a column `run`.

    Args:
        frame: the columns before `nodes`, but for `run`, name the quantity that is averaged.
        value: the column that is averaged.
        level: of confidence.

    Returns:
        The naming columns, runs, mean, low, high; in the order of the table.
    """
    names = [c for c in frame.columns[: list(frame.columns).index('nodes')] if c != 'run']
    rows = []
    for key, group in frame.groupby(names, sort=False, dropna=False):
        mean, low, high = confidence_interval(group[value].tolist(), level)
        found = dict(zip(names, key, strict=True))
        rows.append(
            {**found, 'runs': int(group[value].notna().sum()), 'mean': mean, 'low': low, 'high': high}
        )
    return pd.DataFrame(rows, columns=[*names, 'runs', 'mean', 'low', 'high'])
