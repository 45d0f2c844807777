"""The tidy table of a benchmark: its columns, its types, and its files."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np
import pandas as pd

from graphgps_ext.errors import DataError
from graphgps_ext.files import written

KEY = ['dataset', 'model', 'split', 'seed']
NEEDED = [*KEY, 'metric', 'test']
TEXT, WHOLE, NUMBER = 'string', 'Int64', 'Float64'  # types of pandas that know of missing values
# Column → type of what stands in it, in the order of the file. `train`, `val` and `test` are the metric named
# `metric` at the best epoch by validation; other metrics of a task follow as `test_<name>` and so on.
COLUMNS = {
    'dataset': TEXT,  # data set, as in the name of the config file
    'model': TEXT,  # model, as in the folder or the name of the config file; with its variant in brackets
    'variant': TEXT,  # what tells it from others of its name; empty where there are none
    'split': WHOLE,  # split index, or the seed of a random split
    'seed': WHOLE,  # seed of the run
    'metric': TEXT,  # name of the metric
    'train': NUMBER,  # metric on the training nodes
    'val': NUMBER,  # metric on the validation nodes
    'test': NUMBER,  # metric on the test nodes
    'best_epoch': WHOLE,  # epoch with the best validation metric, from 0
    'epochs': WHOLE,  # number of epochs trained
    'params': WHOLE,  # number of parameters
    'seconds_per_epoch': NUMBER,  # median over epochs, evaluation included
    'seconds_total': NUMBER,  # sum over epochs
    'peak_rss_mb': NUMBER,  # peak resident memory of the process, 10^6 bytes, libraries included
    'peak_gpu_mb': NUMBER,  # peak of GPU allocations, 10^6 bytes
    'stage_1_seconds': NUMBER,  # seconds_per_epoch × epochs of the estimator whose scores were used
    'stage_1_peak_rss_mb': NUMBER,  # its peak_rss_mb
    'stage_1_peak_gpu_mb': NUMBER,  # its peak_gpu_mb
    'stages': WHOLE,  # 2: it used the scores of an estimator
    'edges': WHOLE,  # graph and expander edges used per layer, mean over layers
    'kept_share': NUMBER,  # that as a share of all of them, in %
    'num_nodes': WHOLE,  # number of nodes
    'batch_size': WHOLE,  # seed nodes per batch; empty: full batch
    'device': TEXT,  # device
    'device_name': TEXT,  # its name
    'jobs': WHOLE,  # number of runs that ran side by side
    'python': TEXT,  # version
    'torch': TEXT,  # version
    'torch_geometric': TEXT,  # version
    'graphgps_ext': TEXT,  # version
    'git_revision': TEXT,  # revision of this code; -dirty: with changes
    'config_hash': TEXT,  # equal for runs that differ only in seed and split
    'inputs_hash': TEXT,  # equal for runs on the same features, edges and labels, of stage 2 also estimator
    'split_hash': TEXT,  # equal for runs judged on the same nodes and labels
    'config_file': TEXT,  # config file
}


def read_csv(path: Path) -> tuple[pd.DataFrame, list[str]]:
    """The rows of a `results.csv`, and a note about columns which that of an older version lacks.

    Raises:
        DataError: if it is no such table, or damaged.
    """
    try:
        text = path.read_text(encoding='utf-8')
        _check_whole(text)
        kinds = {column: kind for column, kind in COLUMNS.items() if kind == TEXT}
        # Only an empty cell is a missing value: a model may be called NA.
        frame = pd.read_csv(io.StringIO(text), dtype=kinds, keep_default_na=False, na_values=[''])
    except (OSError, ValueError, csv.Error) as error:  # of the parser, or of the encoding
        raise DataError(f'{path} is no table ({error}); nothing was changed') from None
    if lacking := [column for column in NEEDED if column not in frame]:
        raise DataError(
            f'{path} cannot be used: it lacks the columns {", ".join(lacking)}. Add them, or move the file '
            f'away; nothing was changed'
        )
    try:
        with np.errstate(invalid='raise'):  # of a number that no integer holds
            rows = tidy(frame)
        _check_values(rows, frame)
    except (ValueError, TypeError, ArithmeticError) as error:
        raise DataError(f'{path} has a value of the wrong kind ({error}); nothing was changed') from None
    missing = [column for column in COLUMNS if column not in frame]
    notes = [f'{path} is of an older version, without {", ".join(missing)}: left empty'] if missing else []
    return rows, notes


def _check_whole(text: str) -> None:
    """Raises ValueError if lines are cut, which pandas would fill up, or columns stand twice."""
    head, *lines = csv.reader(io.StringIO(text)) if text else [[]]
    if twice := sorted({name for name in head if head.count(name) > 1}):
        raise ValueError(f'the columns {", ".join(twice)} stand there twice')
    for number, line in enumerate(lines, 2):
        if line and len(line) != len(head):
            raise ValueError(f'row {number} needs {len(head)} values, got {len(line)}')
    if text and not text.endswith('\n'):
        raise ValueError('the last line does not end: it was cut, or a line break is missing')


def _check_values(rows: pd.DataFrame, read: pd.DataFrame) -> None:
    """Raises ValueError if a row lacks what every run has, or holds something that is no number."""
    if empty := [column for column in NEEDED if rows[column].isna().any()]:
        raise ValueError(f'every row needs {", ".join(empty)}')
    numbers = rows.select_dtypes(['Int64', 'Float64']).astype('Float64')
    infinite = numbers.columns[np.isinf(numbers.to_numpy(float, na_value=0)).any(axis=0)]
    if wrong := [*infinite, *read.select_dtypes(bool).columns]:
        raise ValueError(f'no finite numbers in {", ".join(wrong)}')


def tidy(frame: pd.DataFrame) -> pd.DataFrame:
    """Columns and rows in order, with types that know of missing values."""
    others = [column for column in frame if column not in COLUMNS]
    frame = frame.reindex(columns=[*COLUMNS, *others]).astype(dict.fromkeys(others, NUMBER) | COLUMNS)
    return frame.sort_values(KEY, ignore_index=True)


def write_csv(frame: pd.DataFrame, path: Path) -> None:
    """Writes the table whole or not at all."""
    with written(path) as temporary:
        frame.to_csv(temporary, index=False)


def write_parquet(frame: pd.DataFrame, path: Path) -> str | None:
    """Writes the table as Parquet; without pyarrow it says how to get it."""
    try:
        with written(path) as temporary:
            frame.to_parquet(temporary, engine='pyarrow', index=False)
    except ImportError:
        return f'{path} was not written, it needs pyarrow: pip install "graphgps_ext[benchmark]"'
    return None
