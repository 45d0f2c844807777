"""Statistics of the table: mean and standard deviation of each model, ranks, and a test against the best."""

from __future__ import annotations

import math
import warnings

import pandas as pd
from scipy.stats import ttest_rel

from graphgps_ext.benchmark.tidy import KEY
from graphgps_ext.benchmark.variants import IDENTITY, MODEL
from graphgps_ext.errors import DataError

LEVEL = 0.05
TASK = ['dataset', 'metric']  # models are compared within these
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
    in run/main.py; none of a single run); `val`, the mean validation metric; `rank` within the data set and
    metric from 1; `p`, the p-value of the paired test against the best model (see :func:`paired_p`), and
    `pairs`, the number of runs in common with it; and the `COSTS`: of a model with runs on GPUs only those
    count.

    A model in two stages costs both: the peaks are the larger ones, and `seconds_all` is the sum of seconds
    per epoch × epochs. (The sum over epochs is more: it has in it what is done once on a machine, such as
    compiling.) Where the cost of the first is not known, neither is that of both.

    Args:
        frame: the tidy table of :mod:`graphgps_ext.benchmark.collect`.

    Raises:
        DataError: if there are runs of several configs, inputs or metrics under one name, or one run twice.
    """
    _check_apart(frame)
    trained = frame['seconds_per_epoch'] * frame['epochs']
    frame = frame.assign(seconds_all=trained + frame['stage_1_seconds'].fillna(0), on_gpu=on_gpu(frame))
    for peak in PEAKS:
        frame[peak] = frame[[peak, f'stage_1_{peak}']].max(axis=1)
    unknown = (frame['stages'] == 2).fillna(False) & frame['stage_1_seconds'].isna()
    frame.loc[unknown, ['seconds_all', *PEAKS]] = pd.NA
    models = frame.groupby(MODEL, sort=False)
    table = models['metric'].first().to_frame()
    table['runs'] = models.size()
    table['mean'], table['std'] = models['test'].mean(), models['test'].std(ddof=0)
    table['std'] = table['std'].where(table['runs'] > 1)
    table['val'] = models['val'].mean()
    counted = frame[frame['on_gpu'] == models['on_gpu'].transform('any')]
    table[[*COSTS]] = counted.groupby(MODEL).agg(COSTS)
    numbers = table.columns.drop(['metric', 'runs'])
    table = table.astype(dict.fromkeys(numbers, float)).reset_index()
    table = table.sort_values([*TASK, 'mean'], ascending=[True, True, False], ignore_index=True)
    of_task = table.groupby(TASK)
    table['rank'] = of_task['mean'].rank(ascending=False, method='min').astype(int)
    best = of_task['model'].transform('first')
    tests = frame.fillna({'split_hash': ''}).set_index([*MODEL, 'split', 'seed', 'split_hash'])
    tests = tests['test'].astype(float).sort_index()
    compared = [
        _against_best(tests[row.dataset], row.model, row.best) for row in table.assign(best=best).itertuples()
    ]
    table['p'], table['pairs'] = zip(*compared, strict=True)
    return table


def _check_apart(frame: pd.DataFrame) -> None:
    several = frame.groupby(MODEL)[IDENTITY].nunique(dropna=False).max(axis=1) > 1
    if names := ['/'.join(name) for name in several.index[several]]:
        raise DataError(
            f'no mean is over runs of several configs, inputs or metrics, which stand under one name: '
            f'{", ".join(names)}; benchmark --collect keeps them apart'
        )
    if len(twice := frame[frame.duplicated(KEY)]):
        listed = ', '.join(dict.fromkeys(twice['dataset'] + '/' + twice['model']))
        raise DataError(f'one row is needed for each run, got more of {listed}')


def cautions(frame: pd.DataFrame) -> list[str]:
    """What a reader of the tables has to know: where models are compared that were not judged alike."""
    told = []
    for dataset, rows in frame.groupby('dataset'):
        tasks = rows.groupby('split')['split_hash'].nunique()
        if splits := [str(split) for split in tasks.index[tasks > 1]]:
            told.append(
                f'On {dataset} not all models were judged on the same nodes and labels (split '
                f'{", ".join(splits)}): these are compared in no test, and their ranks say little.'
            )
    return told


def several_versions(frame: pd.DataFrame) -> list[str]:
    """A note on models whose runs were made with several versions of what computes."""
    counts = frame.groupby(MODEL)[['graphgps_ext', 'torch']].nunique(dropna=False)
    names = {name: counts.index[counts[name] > 1] for name in counts}
    return [
        f'means over several versions of {name}: {", ".join(map("/".join, models))}'
        for name, models in names.items()
        if len(models)
    ]


def on_gpu(frame: pd.DataFrame) -> pd.Series:
    """Whether each run was on a GPU."""
    return frame['device'].astype('string').str.startswith('cuda').fillna(False).astype(bool)


def _against_best(tests: pd.Series, model: str, best: str) -> tuple[float, int]:
    """`p` and `pairs` of a model, from the test metrics by model, split, seed and hash of the split."""
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
