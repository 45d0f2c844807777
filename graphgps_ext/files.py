"""Files and folders that appear whole or not at all; arrays in them are plain NumPy files, without pickle."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray


@contextmanager
def written(path: Path) -> Iterator[Path]:
    """Give a path to write to, which is renamed to `path` on success and removed on any failure.

    It lies beside `path`, so that the rename is atomic, and has its suffix. Its name holds the number of the
    process: several may write one file, of which the last stays.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = _temporary(path)
    try:
        with naming(path):
            yield temporary
            os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Name `path` in what the system refuses within: of a failed write it does not say to which file.

    `torch.save` to a file object hides the refusal behind an error of its own, which is taken away.
    """
    try:
        yield
    except (OSError, RuntimeError) as error:
        refused = error if isinstance(error, OSError) else error.__context__
        if not isinstance(refused, OSError) or refused.errno is None:
            raise
        named = {Path(name).name for name in (refused.filename, refused.filename2) if name is not None}
        if not named or _temporary(path).name in named:
            refused = type(refused)(refused.errno, refused.strerror, str(path))
        raise refused from None


def _temporary(path: Path) -> Path:
    return path.with_name(f'.{os.getpid()}.{path.name}')


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Give a folder to write into, which is renamed to `path` on success and removed on any failure.

    It lies beside `path`, so that the rename is atomic; what a killed process left there is removed first. A
    folder already at `path` is replaced.
    """
    partial = path.with_name(f'.{path.name}.partial')
    try:
        _remove(partial)
        partial.mkdir(parents=True)
        yield partial
        _sync(partial)
        _replace(path, partial)
    finally:
        _remove(partial)


def write_array(file: Path, array: NDArray[Any]) -> None:
    """Write `array` as version 1.0 of NumPy's format, through to the disk."""
    array = np.ascontiguousarray(array)
    with naming(file), file.open('wb') as stream:
        np.lib.format.write_array_header_1_0(stream, np.lib.format.header_data_from_array_1_0(array))
        stream.write(array.data)  # ndarray.tofile would hide why a write failed
        stream.flush()
        os.fsync(stream.fileno())


def write_bytes(file: Path, content: bytes) -> None:
    """Write `content`, through to the disk."""
    with naming(file), file.open('wb') as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())


def map_array(file: Path, size: int, dtype: DTypeLike) -> NDArray[Any]:
    """Map a one-dimensional array of known size and dtype, copy on write: the file never changes.

    Raises:
        ValueError: if the file is missing, damaged, truncated or holds another array; with both byte counts.
    """
    dtype = np.dtype(dtype)
    try:
        found = file.stat().st_size
        with file.open('rb') as stream:
            np.lib.format.read_magic(stream)
            shape, _, kind = np.lib.format.read_array_header_1_0(stream)
            wanted = stream.tell() + size * dtype.itemsize
    except FileNotFoundError:
        raise ValueError(f'{file} is missing') from None
    except ValueError as error:
        raise ValueError(f'{file} is damaged: {error}') from error
    if shape != (size,) or kind != dtype:
        raise ValueError(f'{file} needs shape ({size},) and dtype {dtype}, got {shape} and {kind}')
    if found != wanted:
        raise ValueError(f'{file} is truncated: wanted {wanted:,} bytes, found {found:,}')
    return np.load(file, mmap_mode='c')


def _replace(path: Path, partial: Path) -> None:
    old = path.with_name(f'.{path.name}.old')
    _remove(old)
    if path.exists():
        path.rename(old)
    try:
        partial.rename(path)
    except OSError:
        if old.exists():
            old.rename(path)
        raise
    _remove(old)
    _sync(path.parent)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove(folder: Path) -> None:
    if folder.exists():
        shutil.rmtree(folder)
