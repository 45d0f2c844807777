"""Run folders → one tidy table: a row for each model, data set, split and seed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from graphgps_ext.benchmark.configs import Name, name_of_result
from graphgps_ext.benchmark.execute import TIMING
from graphgps_ext.benchmark.plan import RECORD
from graphgps_ext.config.tree import flatten, read_yaml
from graphgps_ext.errors import DataError, MissingFileError
from graphgps_ext.files import written
from graphgps_ext.train.results import config_hash
from graphgps_ext.train.stats import SPLITS

KEY = ['dataset', 'model', 'split', 'seed']
NEEDED = [*KEY, 'metric', 'test']
TEXT, WHOLE, NUMBER = 'string', 'Int64', 'Float64'  # types of pandas that know of missing values
# Column → type of what stands in it, in the order of the file. `train`, `val` and `test` are the metric named
# `metric` at the best epoch by validation; other metrics of a task follow as `test_<name>` and so on.
COLUMNS = {
    'dataset': TEXT,  # data set, as in the name of the config file
    'model': TEXT,  # model, as in the folder or the name of the config file
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
    'config_file': TEXT,  # config file
}


def collect(places: Sequence[Path]) -> tuple[pd.DataFrame, list[str]]:
    """The rows of all finished runs below folders and in CSV files, and what a user should know about them.

    Of rows with equal data set, model, split and seed that of the last place stays.

    Raises:
        MissingFileError: if a place is not there.
        DataError: if a CSV lacks columns without which it says nothing.
    """
    frames, notes = [tidy(pd.DataFrame())], []
    for place in places:
        if place.is_dir():
            frame, told = _of_folder(place)
        elif place.is_file():
            frame, told = read_csv(place)
        else:
            raise MissingFileError(f'there is no folder or CSV file {place}')
        frames.append(frame)
        notes += told
    rows = pd.concat(frames, ignore_index=True)
    kept = rows.drop_duplicates(KEY, keep='last')
    return tidy(kept), [*notes, *_replaced(rows, kept)]


def _replaced(rows: pd.DataFrame, kept: pd.DataFrame) -> list[str]:
    """A note on rows that give way to such of another config."""
    pairs = rows.drop(index=kept.index).merge(kept, on=KEY, suffixes=('', '_kept'))
    other = pairs[(pairs['config_hash'] != pairs['config_hash_kept']).fillna(False)]
    if not len(other):
        return []
    names = ', '.join(dict.fromkeys(other['dataset'] + '/' + other['model']))
    return [f'{names}: results of another config under the same name gave way to the later ones named']


def _of_folder(folder: Path) -> tuple[pd.DataFrame, list[str]]:
    rows, notes, unfinished = [], [], 0
    for config in sorted(folder.rglob('config.yaml')):
        run_dir = config.parent
        if not (run_dir / 'summary.json').is_file():
            unfinished += (run_dir / 'train').is_dir()
            continue
        try:
            rows.append(row_of(run_dir))
        except (ValueError, KeyError, OSError) as error:
            notes.append(f'{run_dir} cannot be read and is left out ({type(error).__name__}: {error})')
    if unfinished:
        notes.append(f'unfinished and left out: {unfinished} in {folder}')
    return tidy(pd.DataFrame(rows)), notes


def row_of(run_dir: Path) -> dict[str, Any]:
    """The row of a finished run."""
    summary = json.loads((run_dir / 'summary.json').read_text(encoding='utf-8'))
    flat = dict(flatten(read_yaml(run_dir / 'config.yaml')))
    fixed = flat['dataset.split_mode'] == 'standard'
    name, file = _named(run_dir, flat['dataset.name'])
    metric = summary['metric']
    row: dict[str, Any] = {column: summary.get(column) for column in COLUMNS}
    row |= {
        'dataset': name.dataset,
        'model': name.model,
        'split': flat['dataset.split_index' if fixed else 'dataset.split_seed'],
        'batch_size': None if flat['train.sampler'] == 'full_batch' else flat['train.batch_size'],
        'jobs': _json(run_dir / TIMING).get('jobs'),
        'config_hash': config_hash(flat),
        'config_file': file,
        **summary.get('versions', {}),
        **{split: summary[split].get(metric) for split in SPLITS},
        **_stage_1(run_dir, summary.get('scores')),
    }
    others = {f'{s}_{k}': v for s in SPLITS for k, v in summary[s].items() if k not in (metric, 'loss')}
    return row | dict(sorted(others.items()))


def _named(run_dir: Path, dataset_name: str) -> tuple[Name, str | None]:
    record = _json(run_dir.parent / RECORD)
    if record:
        return Name(record['dataset'], record['model']), record['config_file']
    return name_of_result(run_dir.parent.name, dataset_name), None


def _stage_1(run_dir: Path, scores: str | None) -> dict[str, Any]:
    """What the estimator cost whose scores were used; also if both were moved together."""
    if scores is None:
        return {}
    stage_1 = Path(scores).parent
    moved = run_dir.parent.parent / stage_1.parent.name / stage_1.name
    summary = _json(stage_1 / 'summary.json') or _json(moved / 'summary.json')
    peaks = {f'stage_1_{key}': summary.get(key) for key in ('peak_rss_mb', 'peak_gpu_mb')}
    return {'stage_1_seconds': summary['seconds_per_epoch'] * summary['epochs'], **peaks} if summary else {}


def _json(path: Path) -> dict[str, Any]:
    """The content of a JSON file; nothing if there is none."""
    return json.loads(path.read_text(encoding='utf-8')) if path.is_file() else {}


def read_csv(path: Path) -> tuple[pd.DataFrame, list[str]]:
    """The rows of a `results.csv`, and a note about columns which that of an older version lacks.

    Raises:
        DataError: if it is no such table.
    """
    try:
        frame = pd.read_csv(path, dtype={column: kind for column, kind in COLUMNS.items() if kind == TEXT})
    except ValueError as error:  # of the parser, or of the encoding
        raise DataError(f'{path} is no table ({error}); nothing was changed') from None
    if lacking := [column for column in NEEDED if column not in frame]:
        raise DataError(
            f'{path} cannot be used: it lacks the columns {", ".join(lacking)}. Add them, or move the file '
            f'away; nothing was changed'
        )
    try:
        rows = tidy(frame)
    except (ValueError, TypeError) as error:
        raise DataError(f'{path} has a value of the wrong kind ({error}); nothing was changed') from None
    missing = [column for column in COLUMNS if column not in frame]
    notes = [f'{path} is of an older version, without {", ".join(missing)}: left empty'] if missing else []
    return rows, notes


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
