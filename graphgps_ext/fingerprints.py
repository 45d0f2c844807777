"""Short names of what data hold: hashes of arrays, remembered for as long as their files stay as they are."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from graphgps_ext.files import cache_folder, written

# A file that changed so shortly before it was read may change once more within one tick of its clock.
_SETTLED_SECONDS = 2.0
_BLOCK = 1 << 26  # bytes; bounds what reading a file takes


def fingerprint(*parts: Tensor | NDArray | str) -> str:
    """32 hexadecimal digits of the SHA-256 of the parts, their dtypes and shapes, on any device."""
    digest = hashlib.sha256()
    for part in parts:
        if isinstance(part, str):
            digest.update(f'str {len(part)} {part}'.encode())
            continue
        array = np.ascontiguousarray(part.detach().cpu().numpy() if isinstance(part, Tensor) else part)
        digest.update(f'{array.dtype} {array.shape}'.encode())
        digest.update(array.reshape(-1).view(np.uint8).data)
    return digest.hexdigest()[:32]


def file_fingerprint(path: Path, *, again: bool = False) -> str:
    """That of the bytes of a file, which are read once (see :func:`remembered`)."""

    def compute() -> tuple[list[Path], dict[str, str]]:
        digest = hashlib.sha256()
        with path.open('rb') as file:
            while block := file.read(_BLOCK):
                digest.update(block)
        return [path], {'bytes': digest.hexdigest()[:32]}

    return remembered(f'bytes of {path.absolute()}', compute, again=again)['bytes']


def remembered(
    key: str,
    compute: Callable[[], tuple[Iterable[Path], dict[str, str]]],
    *,
    again: bool = False,
    since: float | None = None,
) -> dict[str, str]:
    """Fingerprints of what was read from files: those of the last time if no file has changed since.

    A file counts as unchanged while its path, size, inode and times of change (of the content and of the
    entry, in nanoseconds) are the same. What is remembered lies in $GRAPHGPS_EXT_CACHE, by default the user's
    cache folder; where that cannot be written, everything is hashed each time.

    Args:
        key: says what is hashed, and how.
        compute: reads the files; gives them and the fingerprints. What comes of no files is not remembered.
        again: hash, whatever is remembered.
        since: when reading the files began, in seconds since the epoch, if that was before this call: files
            that have changed since are none of those remembered.
    """
    place = cache_folder() / 'fingerprints' / f'{fingerprint(key)}.json'
    settled = (time.time() if since is None else since) - _SETTLED_SECONDS
    if not again and (found := _recall(place, key, settled)) is not None:
        return found
    files, values = compute()
    states = [_state(file) for file in files]
    if states and _are_settled(states, settled):
        content = {'key': key, 'files': states, 'values': values}
        with suppress(OSError), written(place) as temporary:
            check = fingerprint(json.dumps(content))
            temporary.write_text(json.dumps({**content, 'check': check}) + '\n', encoding='utf-8')
    return values


def _recall(place: Path, key: str, settled: float) -> dict[str, str] | None:
    """What is remembered, if it is whole and its files have not changed."""
    try:
        content = json.loads(place.read_bytes())
        check = content.pop('check')
        if check != fingerprint(json.dumps(content)) or content['key'] != key:
            return None
        states = [_state(Path(state[0])) for state in content['files']]
        same = states == [tuple(state) for state in content['files']] and _are_settled(states, settled)
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None
    return content['values'] if same else None


def _are_settled(states: list[tuple[str, int, int, int, int]], settled: float) -> bool:
    return all(max(modified, changed) < settled * 1e9 for *_, modified, changed in states)


def _state(file: Path) -> tuple[str, int, int, int, int]:
    """Path, size, inode, and the times of change of content and entry, of the file that a link leads to."""
    stat = file.stat()
    return str(file.absolute()), stat.st_size, stat.st_ino, stat.st_mtime_ns, stat.st_ctime_ns
