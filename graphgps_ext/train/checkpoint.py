"""Checkpoints: written whole or not at all, read without running anything, and only if they are whole."""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from graphgps_ext.errors import DataError, MissingFileError, OtherResultsError
from graphgps_ext.files import written
from graphgps_ext.fingerprints import fingerprint

FORMAT = 3  # 1: Lightning's Trainer; 2: no identity of the run, objects of any class


def write_checkpoint(path: Path, content: dict[str, Any], *, run: str) -> None:
    """Writes tensors, numbers and texts in dicts and lists.

    Args:
        path: of the file.
        content: what to write.
        run: what tells this run from others.
    """
    with written(path) as temporary, temporary.open('wb') as file:  # a path would hide why a write failed
        content = {'format': FORMAT, 'run': run, **content}
        torch.save({**content, 'check': fingerprint(*_parts(content))}, file)


def read_checkpoint(path: Path, *, run: str) -> dict[str, Any]:
    """What :func:`write_checkpoint` wrote, on the CPU, with the checksum that it had then.

    Those of the archive, which torch does not compare, are compared first, so that no damaged pickle is read.

    Raises:
        MissingFileError: if there is no such file.
        DataError: if it is damaged, holds objects that are no tensors, or is of another version.
        OtherResultsError: if it is of another run.
    """
    if not path.is_file():
        raise MissingFileError(f'{path} is missing')
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
        if damaged is not None:
            raise DataError(f'its part {damaged} does not have its checksum')
        content = torch.load(path, map_location='cpu', weights_only=True)
    except MemoryError:
        raise
    except pickle.UnpicklingError:
        # Without the advice of torch, to trust the file.
        raise DataError(
            f'{path} holds more than tensors and numbers ({_foreign(path)}), which is not loaded: '
            f'it was not written by graphgps_ext, or by an older version'
        ) from None
    except Exception as error:  # the readers raise about anything on a damaged file
        raise DataError(f'{path} is damaged ({type(error).__name__}: {str(error)[:200]})') from error
    if not isinstance(content, dict) or content.get('format') != FORMAT:
        raise DataError(
            f'{path} was written by another version of graphgps_ext, which this one cannot continue'
        )
    wanted = content.pop('check', None)
    try:
        found = fingerprint(*_parts(content))
    except (TypeError, RuntimeError):  # of tensors that are sparse or quantised, of a content within itself
        raise DataError(f'{path} is damaged: its content is of another kind than was written') from None
    if found != wanted:
        raise DataError(f'{path} is damaged: its content does not have its checksum')
    if content['run'] != run:
        raise OtherResultsError(f'{path} belongs to another run: other settings, data or attention scores')
    return content


def _parts(value: Any, name: str = '') -> Iterator[Tensor | str]:
    """What a checkpoint holds, in texts and tensors."""
    if isinstance(value, Tensor):
        yield from (name, value)
    elif isinstance(value, dict):
        for key, part in value.items():
            yield from _parts(part, f'{name}/{key!r}')
    elif isinstance(value, list | tuple):
        for number, part in enumerate(value):
            yield from _parts(part, f'{name}/{number}')
    else:
        yield f'{name} {value!r}'


def _foreign(path: Path) -> str:
    """What a checkpoint names that is not loaded."""
    try:
        return ', '.join(torch.serialization.get_unsafe_globals_in_checkpoint(path)) or 'unknown objects'
    except Exception:  # as above
        return 'unknown objects'
