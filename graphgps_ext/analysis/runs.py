"""Score stores on disk, grouped into networks: runs that differ in their seed or split alone."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from graphgps_ext.errors import DataError, MissingFileError
from graphgps_ext.scores import MANIFEST, AttentionScores, Manifest, load, read_manifest


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
        """The scores, checked."""
        return load(self.path)


def find_runs(folder: str | Path) -> list[Run]:
    """All score stores below `folder`, or the one that it is, sorted by expander, width and seed.

    Raises:
        FileNotFoundError: if there are none.
        ValueError: if they are of several data sets or have different numbers of layers, or if two have the
            same width, expander, seed and split.
    """
    folder = Path(folder)
    paths = sorted(file.parent for file in folder.rglob(MANIFEST))
    # What lies in a hidden folder is being written.
    paths = [path for path in paths if not any(part[0] == '.' for part in path.relative_to(folder).parts)]
    if not paths:
        what = 'is no folder' if not folder.is_dir() else 'has no attention scores below it'
        raise MissingFileError(
            f'{folder} {what} (a run of stage 1 writes <out_dir>/<config name>/<run id>/scores/{MANIFEST}): '
            f'run stage 1 first, python run/main.py --cfg configs/Spexphormer/<data set>-estimator.yaml'
        )
    found = [(read_manifest(path), path) for path in paths]
    _refuse_mixture(folder, found)
    one_split = len({m.split_fingerprint for m, _ in found}) == 1
    runs = []
    for manifest, path in found:
        network = f'width {manifest.width}' + ('' if manifest.expander_degree else ', no expander')
        name = f'{manifest.seed}' if one_split else f'{manifest.seed}, {manifest.split}'
        runs.append(Run(path, manifest, network, name))
    runs.sort(key=lambda r: (not r.expander, r.width, r.manifest.seed, r.manifest.split))
    for one, other in itertools.pairwise(runs):
        if (one.network, one.name) == (other.network, other.name):
            raise DataError(
                f'two runs are the same network, {one.network}, with the same seed and split: {one.path} and '
                f'{other.path}; analyse the folder of one of them'
            )
    return runs


def _refuse_mixture(folder: Path, found: Sequence[tuple[Manifest, Path]]) -> None:
    for name in ('dataset', 'num_layers', 'num_nodes'):
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
