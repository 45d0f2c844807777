"""Downloads that either end with whole files in their place or leave nothing behind."""

from __future__ import annotations

import shutil
import socket
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

from graphgps_ext.errors import MissingFileError

TIMEOUT_SECONDS = 20.0  # of silence on one connection, not of the whole download


@contextmanager
def staging_folder(inside: Path | None = None) -> Iterator[Path]:
    """An empty folder for one download, removed at the end; within it a silent connection fails.

    Args:
        inside: make it in this existing folder, for files so large that they should be moved, not copied.
    """
    previous = socket.getdefaulttimeout()
    socket.setdefaulttimeout(TIMEOUT_SECONDS)
    try:
        with tempfile.TemporaryDirectory(prefix='.download-', dir=inside) as folder:
            yield Path(folder)
    finally:
        socket.setdefaulttimeout(previous)


@contextmanager
def made_folder(folder: Path) -> Iterator[None]:
    """Makes a folder with its parents; on failure removes those it made that are empty."""
    absent = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    except BaseException:
        with suppress(OSError):  # a folder with files in it stays
            for path in absent:
                path.rmdir()
        raise


def publish(files: Iterable[Path], folder: Path) -> None:
    """Copies whole files into `folder`, each under its name at once; files that are there already stay.

    Raises:
        OSError: if the folder cannot be written or is full; nothing incomplete remains then.
    """
    part = folder / f'.download-{uuid4().hex}.part'
    try:
        with made_folder(folder):
            for file in files:
                if (folder / file.name).exists():
                    continue
                try:
                    shutil.copyfile(file, part)
                    part.replace(folder / file.name)
                finally:
                    part.unlink(missing_ok=True)
    except OSError as error:
        raise OSError(
            error.errno,
            f'cannot write the downloaded files to {folder} ({error}); '
            f'set dataset.dir to a folder that may be written and has room',
        ) from error


def absent_files(folder: Path, names: Iterable[str]) -> list[str]:
    """Those of the names that are no files in `folder`."""
    return [name for name in names if not (folder / name).is_file()]


def missing_data_error(what: str, folder: Path, absent: Iterable[str], reason: str) -> MissingFileError:
    """The error for absent data: which files go where, why they are not there, and which key points there."""
    return MissingFileError(
        f'{what}: missing in {folder}: {", ".join(absent)}. {reason}. '
        f'Put the files there, or set dataset.dir to the folder that holds them in this layout'
    )
