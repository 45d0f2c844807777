"""Files of a score store: regular ones alone, and arrays as plain NumPy files without pickle."""

from __future__ import annotations

import os
import stat
import warnings
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import DTypeLike, NDArray

from graphgps_ext.errors import DataError, MissingFileError
from graphgps_ext.files import naming

AGAIN = 'run stage 1 again, key spex.estimator'
_LARGEST_HEADER = 1024  # bytes; NumPy writes 118 for an array of one dimension


def open_file(file: Path) -> BinaryIO:
    """Open a regular file, or a link to one, for reading: of anything else, such as a pipe, it might not end.

    Raises:
        FileNotFoundError: if there is none.
        ValueError: if something else has its place, or it cannot be read.
    """
    try:
        if not stat.S_ISREG(file.stat().st_mode):
            what = 'a folder' if file.is_dir() else 'a pipe, a socket or a device'
            raise DataError(f'{file} needs to be a file, but is {what} ({AGAIN})')
        return file.open('rb')
    except FileNotFoundError:
        raise MissingFileError(f'{file} is missing ({AGAIN})') from None
    except OSError as error:
        raise DataError(f'{file} cannot be read: {error.strerror} ({AGAIN})') from None


def write_array(file: Path, array: NDArray[Any]) -> None:
    """Write `array` as version 1.0 of NumPy's format, through to the disk."""
    array = np.ascontiguousarray(array)
    with naming(file), file.open('wb') as stream:
        np.lib.format.write_array_header_1_0(stream, np.lib.format.header_data_from_array_1_0(array))
        stream.write(array.data)  # ndarray.tofile would hide why a write failed
        stream.flush()
        os.fsync(stream.fileno())


def map_array(file: Path, size: int, dtype: DTypeLike) -> NDArray[Any]:
    """Map a one-dimensional array of known size and dtype, copy on write: the file never changes.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is damaged, truncated or holds another array; with both byte counts.
    """
    dtype = np.dtype(dtype)
    with open_file(file) as stream:
        found = os.fstat(stream.fileno()).st_size
        shape, fortran_order, kind = _header(file, stream)
        offset = stream.tell()
        if shape != (size,) or kind != dtype or fortran_order:
            order = ' in Fortran order' if fortran_order else ''
            raise DataError(
                f'{file} needs shape ({size},) and dtype {dtype}, got {shape} and {kind}{order} ({AGAIN})'
            )
        if offset % dtype.itemsize:
            raise DataError(f'{file} is damaged: its header has {offset} bytes, no multiple of 16 ({AGAIN})')
        wanted = offset + size * dtype.itemsize
        if found != wanted:
            fault = 'is truncated' if found < wanted else 'has bytes too many'
            raise DataError(f'{file} {fault}: wanted {wanted:,} bytes, found {found:,} ({AGAIN})')
        try:
            return np.memmap(stream, dtype, mode='c', offset=offset, shape=(size,))
        except OSError as error:
            raise DataError(f'{file} cannot be mapped: {error.strerror} ({AGAIN})') from None


def _header(file: Path, stream: BinaryIO) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Shape, whether in Fortran order, and dtype."""
    try:
        version = np.lib.format.read_magic(stream)
        if version != (1, 0):
            raise ValueError(f"NumPy's format of version {version[0]}.{version[1]}, wanted 1.0")
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')  # of text that is no header
            return np.lib.format.read_array_header_1_0(stream, max_header_size=_LARGEST_HEADER)
    except Exception as error:  # a header is read as a literal of Python: on damage it may raise anything
        reason = str(error).partition('\n')[0][:200]
        raise DataError(f'{file} is damaged: {reason or type(error).__name__} ({AGAIN})') from None
