"""Which of the runs of stage 1 the scores for a split are taken from."""

from __future__ import annotations

from pathlib import Path

from graphgps_ext.errors import DataError
from graphgps_ext.scores.manifest import KEYS, Manifest, missing, read_manifest


def stores(folder: str | Path) -> list[Path]:
    """`<folder>/<run id>/scores` of each run that has one, whole or damaged.

    Raises:
        FileNotFoundError: if there is no such folder.
        ValueError: if it cannot be read.
    """
    folder = Path(folder)
    try:
        return sorted(run / 'scores' for run in folder.iterdir() if _is_there(run / 'scores'))
    except FileNotFoundError:
        raise missing(folder) from None
    except OSError as error:
        raise DataError(f'{error.filename} cannot be read: {error.strerror} (key spex.estimator)') from None


def _is_there(path: Path) -> bool:
    """Whatever it is; unlike `os.path.lexists`, which calls absent what may not be looked at."""
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def find(folder: str | Path, *, split_fingerprint: str, seed: int | None = None) -> Path:
    """The scores for a split among the runs of one stage-1 config.

    A damaged store stands in the way of the others only where it could be the one that is wanted: what it was
    made for is not known.

    Args:
        folder: `<out_dir>/<config name>` of stage 1.
        split_fingerprint: of the split that stage 2 uses.
        seed: run seed wanted; by default the lowest there is on this split.

    Raises:
        FileNotFoundError: if there are no scores at all.
        ValueError: if none fits, the message lists what is there; if it cannot be told which is wanted.
    """
    folder = Path(folder)
    found: list[tuple[Manifest, Path]] = []
    damaged: list[str] = []
    for path in stores(folder):
        try:
            found.append((read_manifest(path), path))
        except (DataError, FileNotFoundError) as error:
            damaged.append(f'\n  {error}')
    if not found and not damaged:
        raise missing(folder)
    found.sort(key=lambda item: (item[0].seed, str(item[1])))
    on_split = [item for item in found if item[0].split_fingerprint == split_fingerprint]
    fits = [item for item in on_split if seed is None or item[0].seed == seed]
    if fits and (seed is not None or not damaged):
        return _only_one(fits)
    if fits:
        raise DataError(
            f'which attention scores in {folder} are those of the lowest seed cannot be told, as some are '
            f'damaged; run stage 1 again for these, or choose a seed (key spex.estimator_seed):'
            f'{"".join(damaged)}'
        )
    listing = ''.join(
        f'\n  {path}: split {m.split} ({m.split_fingerprint}), seed {m.seed}' for m, path in found
    )
    if on_split:
        wanted, key = f'seed {seed} on this split', 'spex.estimator_seed'
    else:
        wanted, key = f'split {split_fingerprint}', KEYS['split']
    raise DataError(
        f'no attention scores in {folder} for {wanted} (key {key}); there are:{listing}{"".join(damaged)}'
    )


def _only_one(fits: list[tuple[Manifest, Path]]) -> Path:
    """The first of stores in order of seed, unless another of the same seed holds other scores."""
    manifest, path = fits[0]
    for other, place in fits[1:]:
        if other.seed == manifest.seed and other.identity != manifest.identity:
            raise DataError(
                f'{path} and {place} are both for seed {manifest.seed} on this split, but hold other scores: '
                f'move one of these runs to another folder (key spex.estimator)'
            )
    return path
