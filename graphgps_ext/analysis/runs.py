"""Score stores on disk, grouped into networks: runs that differ in their seed or split alone."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from graphgps_ext.errors import DataError, MissingFileError
from graphgps_ext.scores import MANIFEST, AttentionScores, Manifest, load, read_manifest
from graphgps_ext.scores.checksums import INDPTR


@dataclass(frozen=True)
class Run:
    """One score store.

    Args:
        path: its folder.
        manifest: what it says of itself.
        network: the network in words, such as `width 4, no expander`; runs of one network differ in `name`.
        name: the seed, with the split where splits differ.
    """

    path: Path
    manifest: Manifest
    network: str
    name: str

    @property
    def width(self) -> int:
        """Hidden channels."""
        return self.manifest.width

    @property
    def expander(self) -> bool:
        """Whether the network was trained with expander edges."""
        return self.manifest.expander_degree > 0

    def load(self) -> AttentionScores:
        """The scores, checked.

        Raises:
            ValueError: if they are damaged, or others than those that were found.
        """
        loaded = load(self.path)
        if loaded.manifest != self.manifest:
            raise DataError(f'the scores in {self.path} were replaced while they were looked at: start again')
        return loaded


def find_runs(folder: str | Path) -> list[Run]:
    """All score stores below `folder`, or the one that it is, sorted by expander, width and seed.

    Raises:
        FileNotFoundError: if there are none.
        ValueError: if some are damaged; if they are of several data sets or have different numbers of layers;
            if runs of one network differ in more than their seed and split, or in neither.
    """
    folder = Path(folder)
    paths = sorted(_stores_below(folder))
    if not paths:
        what = 'is no folder' if not folder.is_dir() else 'has no attention scores below it'
        raise MissingFileError(
            f'{folder} {what} (a run of stage 1 writes <out_dir>/<config name>/<run id>/scores/{MANIFEST}): '
            f'run stage 1 first, python run/main.py --cfg configs/Spexphormer/<data set>-estimator.yaml'
        )
    found = _manifests(folder, paths)
    _refuse_mixture(folder, found)
    one_split = len({m.split_fingerprint for m, _ in found}) == 1
    runs = []
    for manifest, path in found:
        network = f'width {manifest.width}' + ('' if manifest.expander_degree else ', no expander')
        name = f'{manifest.seed}' if one_split else f'{manifest.seed}, {manifest.split}'
        runs.append(Run(path, manifest, network, name))
    runs.sort(key=lambda r: (not r.expander, r.width, r.manifest.seed, r.manifest.split))
    for one, other in itertools.pairwise(runs):
        if one.network == other.network:
            _refuse_pair(one, other)
    return runs


def _stores_below(folder: Path) -> Iterator[Path]:
    """Folders that hold a manifest or, where it was lost, a graph; links are followed, once each.

    Whatever else is called `scores` counts as well, to be refused. What lies in a hidden folder is being
    written.
    """
    seen: set[str] = set()
    for place, folders, files in os.walk(folder, onerror=_refuse_unreadable, followlinks=True):
        folders[:] = sorted(name for name in folders if name[0] != '.')
        if (real := os.path.realpath(place)) in seen:
            folders.clear()
        elif {MANIFEST, INDPTR} & {*folders, *files}:
            yield Path(place)
        elif 'scores' in files:
            yield Path(place, 'scores')
        seen.add(real)


def _refuse_unreadable(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError | NotADirectoryError):
        raise DataError(f'{error.filename} cannot be read: {error.strerror}')


def _manifests(folder: Path, paths: Sequence[Path]) -> list[tuple[Manifest, Path]]:
    found, damaged = [], []
    for path in paths:
        try:
            found.append((read_manifest(path), path))
        except (DataError, MissingFileError) as error:
            damaged.append(error)
    if damaged:
        listing = ''.join(f'\n  {error}' for error in damaged)
        raise DataError(f'some of the scores below {folder} cannot be used; delete them or mend:{listing}')
    return found


def _refuse_pair(one: Run, other: Run) -> None:
    """Refuse two runs of a network that do not differ in their seed or split alone."""
    if one.name == other.name:
        raise DataError(
            f'two runs are the same network, {one.network}, with the same seed and split: {one.path} and '
            f'{other.path}; analyse the folder of one of them'
        )
    if one.manifest.estimator != other.manifest.estimator:
        raise DataError(
            f'two runs of {one.network} differ in more config keys than seed and split: {one.path} and '
            f'{other.path} (see config.yaml of each); analyse them apart'
        )


def _refuse_mixture(folder: Path, found: Sequence[tuple[Manifest, Path]]) -> None:
    for name in ('dataset', 'num_layers', 'num_nodes', 'features_fingerprint', 'labels_fingerprint'):
        values: dict[object, Path] = {}
        for manifest, path in found:
            values.setdefault(getattr(manifest, name), path)
        if len(values) > 1:
            listing = ''.join(f'\n  {name} {value}: {path}' for value, path in values.items())
            raise DataError(f'the runs below {folder} do not belong together:{listing}')


def networks(runs: Sequence[Run]) -> dict[str, list[Run]]:
    """The runs of each network, in their order."""
    groups: dict[str, list[Run]] = {}
    for run in runs:
        groups.setdefault(run.network, []).append(run)
    return groups
