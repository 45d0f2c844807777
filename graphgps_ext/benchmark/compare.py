"""Statistics of the table: mean and standard deviation of each model, ranks, and a test against the best."""

from __future__ import annotations

import math
import warnings

import pandas as pd
from scipy.stats import ttest_rel

LEVEL = 0.05
COSTS = [
    'params',
    'edges',
    'kept_share',
    'seconds_per_epoch',
    'seconds_all',
    'peak_rss_mb',
    'peak_gpu_mb',
    'batch_size',
]


def with_both_stages(frame: pd.DataFrame) -> pd.DataFrame:
    """Adds `seconds_all`, and makes the peaks those of both stages: a model in two stages costs both.

    `seconds_all` is seconds per epoch × epochs. The sum over epochs is more: it has in it what is done once
    on a machine, such as compiling.

    Args:
        frame: the tidy table of :mod:`graphgps_ext.benchmark.collect`.
    """
    frame = frame.copy()
    trained = frame['seconds_per_epoch'] * frame['epochs']
    frame['seconds_all'] = trained + frame['stage_1_seconds'].fillna(0)
    for column in ('peak_rss_mb', 'peak_gpu_mb'):
        frame[column] = frame[[column, f'stage_1_{column}']].astype('Float64').max(axis=1)
    return frame


def summarize(frame: pd.DataFrame) -> pd.DataFrame:
    """One row for each data set and model, the best test metric first (a higher one is better).

    Columns: `runs`; `mean` and `std` of the test metric over runs (population standard deviation, ddof 0, as
    in run/main.py); `val`, the mean validation metric; `rank` within the data set from 1; `p`, the p-value of
    the paired test against the best model (see :func:`paired_p`), and `pairs`, the number of runs in common
    with it; of the costs the median over runs, of peaks the maximum (see :func:`costed`).

    Args:
        frame: the tidy table.
    """
    rows = []
    for (dataset, model), runs in with_both_stages(frame).groupby(['dataset', 'model'], sort=False):
        test = runs['test'].astype(float)
        row = {'dataset': dataset, 'model': model, 'metric': runs['metric'].iloc[0], 'runs': len(runs)}
        row |= {'mean': test.mean(), 'std': test.std(ddof=0), 'val': runs['val'].astype('Float64').mean()}
        for column in COSTS:
            known = costed(runs)[column].dropna()
            how = 'max' if column.startswith('peak') else 'median'
            row[column] = float(known.agg(how)) if len(known) else math.nan
        rows.append(row)
    table = pd.DataFrame(rows).sort_values(['dataset', 'mean'], ascending=[True, False], ignore_index=True)
    table['rank'] = table.groupby('dataset')['mean'].rank(ascending=False, method='min').astype(int)
    best = table.groupby('dataset')['model'].first()
    tests = [_against_best(frame, row.dataset, row.model, best[row.dataset]) for row in table.itertuples()]
    table['p'], table['pairs'] = zip(*tests, strict=True)
    return table


def costed(runs: pd.DataFrame) -> pd.DataFrame:
    """Of the runs of one model those whose costs count: the ones on a GPU, if there are any.

    Args:
        runs: rows of the tidy table.
    """
    gpu = on_gpu(runs)
    return runs[gpu] if gpu.any() else runs


def on_gpu(frame: pd.DataFrame) -> pd.Series:
    """Whether each run was on a GPU."""
    return frame['device'].astype('string').str.startswith('cuda').fillna(False).astype(bool)


def _against_best(frame: pd.DataFrame, dataset: str, model: str, best: str) -> tuple[float, int]:
    runs = frame[frame['dataset'] == dataset].set_index(['split', 'seed'])
    values = [runs.loc[runs['model'] == name, 'test'].astype(float).rename(name) for name in (best, model)]
    if model == best:
        return math.nan, 0
    common = pd.concat(values, axis=1, join='inner')
    return paired_p(common[best], common[model]), len(common)


def paired_p(first: pd.Series, second: pd.Series) -> float:
    """Two-sided p-value of the paired t-test (scipy's `ttest_rel`); NaN for fewer than two pairs.

    Not Wilcoxon's signed-rank test: with the usual five runs its smallest p-value is 0.0625.

    Args:
        first: test metrics of one model, a value for each split and seed.
        second: those of another on the same splits and seeds.
    """
    if len(first) < 2:
        return math.nan
    if (first.to_numpy() == second.to_numpy()).all():
        return 1.0
    with warnings.catch_warnings():
        warnings.simplefilter('ignore', RuntimeWarning)  # of differences that are all alike
        return float(ttest_rel(first, second).pvalue)


def run_count(number: int) -> str:
    """`1 run`, `5 runs`."""
    return f'{number} run' if number == 1 else f'{number} runs'
