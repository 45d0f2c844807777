"""Tidy tables: naming columns, rows of interest, and means with intervals over runs."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from scipy.stats import t


def named(frame: pd.DataFrame, **columns: object) -> pd.DataFrame:
    """The table behind further columns, each with one value for all rows."""
    return frame.assign(**columns)[[*columns, *frame.columns]]


def select(frame: pd.DataFrame, **wanted: object) -> pd.DataFrame:
    """The rows in which each column named has the value wanted."""
    for column, value in wanted.items():
        frame = frame[frame[column] == value]
    return frame


def confidence_interval(values: Sequence[float], level: float = 0.95) -> tuple[float, float, float]:
    """Mean with Student's interval m ± t_(n−1) · s / √n; NaN bounds for a single value.

    Args:
        values: one per seed; NaN are left out.
        level: of confidence.

    Returns:
        mean, low, high.
    """
    known = pd.Series(values, dtype=float).dropna()
    mean, half = float(known.mean()), float(t.ppf((1 + level) / 2, known.size - 1) * known.sem())
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
    names = [c for c in frame.columns[: frame.columns.get_loc('nodes')] if c != 'run']
    groups = frame.groupby(names, sort=False, dropna=False)[value]
    table = groups.agg(runs='count', mean='mean', half='sem').reset_index()
    half = t.ppf((1 + level) / 2, table['runs'] - 1) * table.pop('half')
    return table.assign(low=table['mean'] - half, high=table['mean'] + half)
