"""Statistics of the table: mean and standard deviation of each model, ranks, and a test against the best."""

from __future__ import annotations

import math
import warnings

import pandas as pd
from scipy.stats import ttest_rel

LEVEL = 0.05
MODEL = ['dataset', 'model']
PEAKS = ['peak_rss_mb', 'peak_gpu_mb']
# How the costs of a model's runs become one.
COSTS = {
    **dict.fromkeys(['params', 'edges', 'kept_share', 'seconds_per_epoch', 'seconds_all'], 'median'),
    **dict.fromkeys(PEAKS, 'max'),
    'batch_size': 'median',
}


def summarize(frame: pd.DataFrame) -> pd.DataFrame:
    """One row for each data set and model, the best test metric first (a higher one is better).

    Columns: `runs`; `mean` and `std` of the test metric over runs (population standard deviation, ddof 0, as
    in run/main.py); `val`, the mean validation metric; `rank` within the data set from 1; `p`, the p-value of
    the paired test against the best model (see :func:`paired_p`), and `pairs`, the number of runs in common
    with it; and the `COSTS`: of a model with runs on GPUs only those count.

    A model in two stages costs both: the peaks are the larger ones, and `seconds_all` is the sum of seconds
    per epoch × epochs. (The sum over epochs is more: it has in it what is done once on a machine, such as
    compiling.)

    Args:
        frame: the tidy table of :mod:`graphgps_ext.benchmark.collect`.
    """
    trained = frame['seconds_per_epoch'] * frame['epochs']
    frame = frame.assign(seconds_all=trained + frame['stage_1_seconds'].fillna(0), on_gpu=on_gpu(frame))
    for peak in PEAKS:
        frame[peak] = frame[[peak, f'stage_1_{peak}']].max(axis=1)
    models = frame.groupby(MODEL, sort=False)
    table = models['metric'].first().to_frame()
    table['runs'] = models.size()
    table['mean'], table['std'] = models['test'].mean(), models['test'].std(ddof=0)
    table['val'] = models['val'].mean()
    counted = frame[frame['on_gpu'] == models['on_gpu'].transform('any')]
    table[[*COSTS]] = counted.groupby(MODEL).agg(COSTS)
    numbers = table.columns.drop(['metric', 'runs'])
    table = table.astype(dict.fromkeys(numbers, float)).reset_index()
    table = table.sort_values(['dataset', 'mean'], ascending=[True, False], ignore_index=True)
    by_dataset = table.groupby('dataset')
    table['rank'] = by_dataset['mean'].rank(ascending=False, method='min').astype(int)
    best = by_dataset['model'].transform('first')
    tests = frame.set_index([*MODEL, 'split', 'seed'])['test'].astype(float).sort_index()
    compared = [
        _against_best(tests[row.dataset], row.model, row.best) for row in table.assign(best=best).itertuples()
    ]
    table['p'], table['pairs'] = zip(*compared, strict=True)
    return table


def on_gpu(frame: pd.DataFrame) -> pd.Series:
    """Whether each run was on a GPU."""
    return frame['device'].astype('string').str.startswith('cuda').fillna(False).astype(bool)


def _against_best(tests: pd.Series, model: str, best: str) -> tuple[float, int]:
    """`p` and `pairs` of a model, from the test metrics by model, split and seed."""
    if model == best:
        return math.nan, 0
    common = pd.concat([tests[best], tests[model]], axis=1, join='inner', keys=[best, model])
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
