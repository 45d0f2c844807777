"""Run folders and CSV files → one tidy table: a row for each model, data set, split and seed."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from graphgps_ext.benchmark.configs import Name, name_of_result
from graphgps_ext.benchmark.execute import TIMING
from graphgps_ext.benchmark.plan import RECORD
from graphgps_ext.benchmark.tidy import COLUMNS, KEY, TEXT, WHOLE, read_csv, tidy
from graphgps_ext.benchmark.variants import IDENTITY, MODEL, Kinds, base_names, told_apart
from graphgps_ext.errors import DataError, MissingFileError, UserError
from graphgps_ext.scores import read_manifest
from graphgps_ext.train.finished import MARKS, FinishedRun, finite, is_unfinished, read_run, why_not
from graphgps_ext.train.handover import score_inputs
from graphgps_ext.train.results import config_hash, read_json
from graphgps_ext.train.stats import SPLITS

VERSIONS = ('python', 'torch', 'torch_geometric', 'graphgps_ext')


def collect(places: Sequence[Path]) -> tuple[pd.DataFrame, list[str]]:
    """The rows of all finished runs below folders and in CSV files, and what a user should know about them.

    Models of one name that differ in their config, their data or their metric get a variant in brackets. Of
    rows of one config, data, split and seed that of the last place stays.

    Raises:
        MissingFileError: if a place is not there.
        DataError: if a CSV is damaged, or lacks columns without which it says nothing.
    """
    frames, notes = [tidy(pd.DataFrame())], []
    kinds: Kinds = {}
    for place in places:
        if place.is_dir():
            frame, told = _of_folder(place, kinds)
        elif place.is_file():
            frame, told = read_csv(place)
        else:
            raise MissingFileError(f'there is no folder or CSV file {place}')
        frames.append(frame)
        notes += told
    rows = pd.concat(frames, ignore_index=True)
    rows['model'] = base_names(rows)
    rows['variant'] = rows.groupby([*MODEL, *IDENTITY], dropna=False)['variant'].transform('last')
    kept = rows.drop_duplicates([*KEY, *IDENTITY], keep='last')
    apart, told = told_apart(kept, kinds)
    return tidy(apart), [*dict.fromkeys(notes), *_replaced(rows, kept), *told]


def _replaced(rows: pd.DataFrame, kept: pd.DataFrame) -> list[str]:
    """A note on rows that give way to such of the same run with other results."""
    if len(rows) == len(kept):
        return []
    pairs = rows.drop(index=kept.index).merge(kept, on=[*KEY, *IDENTITY], suffixes=('', '_kept'))
    other = pairs[(pairs[['val', 'test']] != pairs[['val_kept', 'test_kept']].to_numpy()).any(axis=1)]
    names = ', '.join(dict.fromkeys(f'{row.dataset}/{row.model}' for row in other.itertuples()))
    said = 'of runs of one config, split and seed with different results only the last named count'
    return [f'{names}: {said}'] if names else []


def _of_folder(folder: Path, kinds: Kinds) -> tuple[pd.DataFrame, list[str]]:
    rows: list[dict[str, Any]] = []
    notes: list[str] = []
    unfinished = 0
    unreadable: list[OSError] = []
    for path, folders, files in os.walk(folder, onerror=unreadable.append):
        folders.sort()
        run_dir = Path(path)
        if not {*MARKS} & {*folders, *files}:
            continue
        if is_unfinished(run_dir):
            unfinished += (run_dir / 'train').is_dir()
            continue
        try:
            run = read_run(run_dir)
            row, told = row_of(run)
        except (UserError, OSError) as error:
            notes.append(f'{run_dir} is left out: {why_not(error)}')
            continue
        rows.append(row)
        notes += told
        kinds[row['config_hash'], row['inputs_hash']] = run
    notes += [f'{error.filename} is left out: {error.strerror}' for error in unreadable]
    if unfinished:
        notes.append(f'unfinished or of an older version, and left out: {unfinished} in {folder}')
    return tidy(pd.DataFrame(rows)), notes


def row_of(run: FinishedRun) -> tuple[dict[str, Any], list[str]]:
    """The row of a finished run, and what a user should know about it.

    Raises:
        UserError: if a value is none that a run writes.
    """
    summary, config = run.summary, run.config
    name, file = _named(run.folder, config['dataset.name'])
    timing = _beside(run.folder / TIMING, 'how many runs ran side by side is not known then')
    versions = summary.get('versions')
    row: dict[str, Any] = {column: summary.get(column) for column in COLUMNS}
    row |= {
        'dataset': name.dataset,
        'model': name.model,
        'variant': None,
        'split': run.split,
        'seed': run.seed,
        'batch_size': None if config['train.sampler'] == 'full_batch' else config['train.batch_size'],
        'jobs': None if timing is None else timing.get('jobs'),
        'stages': 1 if summary.get('scores') is None else 2,
        'config_hash': config_hash(config),
        'inputs_hash': run.inputs_hash,
        'split_hash': run.split_hash,
        'config_file': file,
        **{package: versions.get(package) if isinstance(versions, dict) else None for package in VERSIONS},
        **{split: summary[split].get(run.metric) for split in SPLITS},
    }
    estimator, notes = _stage_1(run, name)
    row |= estimator
    if wrong := [column for column, kind in COLUMNS.items() if not _fits(row[column], kind)]:
        raise DataError(f'{run.folder / "summary.json"} has no value as of a run for {", ".join(wrong)}')
    others = {f'{s}_{k}': v for s in SPLITS for k, v in summary[s].items() if k not in (run.metric, 'loss')}
    return row | dict(sorted(others.items())), notes


def _fits(value: Any, kind: str) -> bool:
    """Whether a value may stand in a column of this type."""
    if value is None or kind == TEXT:
        return value is None or isinstance(value, str)
    return finite(value) and (kind != WHOLE or (isinstance(value, int) and abs(value) < 2**63))


def _named(run_dir: Path, dataset_name: str) -> tuple[Name, str | None]:
    path, without = run_dir.parent / RECORD, 'the names of the folders then stand in the tables'
    if (record := _beside(path, without)) is None:
        return name_of_result(run_dir.parent.name, dataset_name), None
    if not all(isinstance(record.get(key), str) for key in ('dataset', 'model', 'config_file')):
        raise DataError(f'{path} is damaged: it needs dataset, model and config_file. Delete it: {without}')
    return Name(record['dataset'], record['model']), record['config_file']


def _beside(path: Path, without: str) -> dict[str, Any] | None:
    """The content of a file that need not be there; `without` says what is lost if it is deleted."""
    try:
        return read_json(path) if os.path.lexists(path) else None
    except (DataError, MissingFileError) as error:
        raise DataError(f'{error}. Delete it: {without}') from None


def _stage_1(run: FinishedRun, name: Name) -> tuple[dict[str, Any], list[str]]:
    """What the estimator cost whose scores were used; also if both were moved together.

    Empty, with a note, if that estimator is not there: another one may lie at its place by now.
    """
    scores = run.summary.get('scores')
    if scores is None:
        return {}, []
    if not isinstance(scores, str):
        raise DataError(f'{run.folder / "summary.json"} is damaged: scores needs to be a folder')
    used = {key: run.inputs.get(key) for key in ('scores', 'estimator')}
    recorded = Path(scores).parent
    moved = run.folder.parent.parent / recorded.parent.name / recorded.name
    for place in (recorded, moved):
        try:
            summary = read_run(place).summary
            same = score_inputs(read_manifest(place / 'scores')) == used
        except (UserError, OSError):
            continue
        costs = [summary.get(key) for key in ('seconds_per_epoch', 'peak_rss_mb', 'peak_gpu_mb')]
        if same and all(map(finite, costs)):
            seconds, rss, gpu = costs
            told = {'stage_1_seconds': seconds * summary['epochs'], 'stage_1_peak_rss_mb': rss}
            return {**told, 'stage_1_peak_gpu_mb': gpu}, []
    why = 'is gone, damaged, or another one by now'
    return {}, [f'{name}: the cost of stage 1 is left empty: the run {recorded} that was used {why}']
