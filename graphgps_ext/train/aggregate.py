"""The mean over the runs of one config: `<config name>/agg/{train,val,test}/best.json` of GraphGym."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from graphgps_ext.errors import UserError
from graphgps_ext.files import delete_left
from graphgps_ext.train.finished import FinishedRun, differences, is_run, is_unfinished, read_run, why_not
from graphgps_ext.train.results import write_json
from graphgps_ext.train.stats import SPLITS

COMPARED_VERSIONS = ('graphgps_ext', 'torch')


def aggregate(run_dir: Path) -> tuple[dict[str, dict[str, float]], list[str]]:
    """Writes `agg/` beside a finished run: over it and the runs that differ from it in seed or split alone.

    All others beside it are left out: of another config or other data, damaged, not finished, or of a seed
    and split that counts already (a copy of a run).

    Returns:
        Split → content of its `best.json`: `runs`, and mean and population standard deviation of each metric
        that all of these runs have; and lines that say what was left out, and in which versions they differ.

    Raises:
        UserError: if the run is not finished, or damaged.
    """
    kept, left = [read_run(run_dir)], []
    counted = {(kept[0].split, kept[0].seed): run_dir.name}
    for folder in sorted(path for path in run_dir.parent.iterdir() if path != run_dir and is_run(path)):
        if is_unfinished(folder):
            left.append(f'{folder.name} (not finished)')
            continue
        try:
            run = read_run(folder)
        except (UserError, OSError) as error:
            left.append(f'{folder.name} ({why_not(error)})')
            continue
        if differing := differences(run, kept[0]):
            left.append(f'{folder.name} ({differing})')
        elif (same := counted.setdefault((run.split, run.seed), folder.name)) != folder.name:
            left.append(f'{folder.name} (seed {run.seed} and split {run.split} as {same})')
        else:
            kept.append(run)
    kept.sort(key=lambda run: run.folder.name)
    best = {split: _best(kept, split) for split in SPLITS}
    delete_left(run_dir.parent / 'agg')
    for split in SPLITS:
        write_json(run_dir.parent / 'agg' / split / 'best.json', best[split])
    lines = [f'left out of the mean: {", ".join(left)}'] if left else []
    return best, [*lines, *_versions(kept)]


def _best(runs: list[FinishedRun], split: str) -> dict[str, float]:
    rows = pd.DataFrame([{'epoch': run.summary['best_epoch'], **run.summary[split]} for run in runs])
    rows = rows.dropna(axis='columns').astype(float)
    best: dict[str, float] = {'runs': len(runs)}
    for name, values in rows.items():
        best[str(name)] = round(float(values.mean()), 6)
        best[f'{name}_std'] = round(float(values.std(ddof=0)), 6)
    return best


def _versions(runs: list[FinishedRun]) -> list[str]:
    """A line for each package of which the runs had several versions."""
    lines = []
    for package in COMPARED_VERSIONS:
        names: dict[str, list[str]] = {}
        for run in runs:
            versions = run.summary.get('versions')
            version = versions.get(package) if isinstance(versions, dict) else None
            names.setdefault(str(version or 'not recorded'), []).append(run.folder.name)
        if len(names) > 1:
            told = ', '.join(f'{version} ({", ".join(folders)})' for version, folders in names.items())
            lines.append(f'the mean is over runs with several versions of {package}: {told}')
    return lines
