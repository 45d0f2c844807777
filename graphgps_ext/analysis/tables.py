"""Tidy tables: naming columns, rows of interest, and means with intervals over runs."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from scipy.stats import t

_QUANTILE = 0.975  # half of what a 95 % interval leaves out lies above it


def named(frame: pd.DataFrame, **columns: object) -> pd.DataFrame:
    """The table behind further columns, each with one value for all rows."""
    return frame.assign(**columns)[[*columns, *frame.columns]]


def select(frame: pd.DataFrame, **wanted: object) -> pd.DataFrame:
    """The rows in which each column named has the value wanted."""
    for column, value in wanted.items():
        frame = frame[frame[column] == value]
    return frame


def confidence_interval(values: Sequence[float]) -> tuple[float, float, float]:
    """Mean, low and high: Student's 95 % interval m ± t_(n−1) · s / √n; NaN bounds for a single value.

    Args:
        values: one per seed; NaN are left out.
    """
    known = pd.Series(values, dtype=float).dropna()
    mean, half = float(known.mean()), float(t.ppf(_QUANTILE, known.size - 1) * known.sem())
    return mean, mean - half, mean + half


def over_runs(frame: pd.DataFrame, value: str = 'mean') -> pd.DataFrame:
    """Mean and 95 % interval over runs of a tidy table with a column `run`.

    Args:
        frame: the columns before `nodes`, but for `run`, name the quantity that is averaged.
        value: the column that is averaged.

    Returns:
        The naming columns, runs, mean, low, high; in the order of the table.
    """
    names = [c for c in frame.columns[: frame.columns.get_loc('nodes')] if c != 'run']
    groups = frame.groupby(names, sort=False, dropna=False)[value]
    table = groups.agg(runs='count', mean='mean', half='sem').reset_index()
    half = t.ppf(_QUANTILE, table['runs'] - 1) * table.pop('half')
    return table.assign(low=table['mean'] - half, high=table['mean'] + half)
