"""Messages for errors that a user can mend, also those of the system: no room, no permission, no memory."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

from torch_geometric.graphgym.config import cfg

from graphgps_ext.errors import UserError
from graphgps_ext.train.shortage import is_shortage, shortage

# Why the system refuses a file or folder, as far as a user can mend it.
_REASONS = {
    errno.ENOSPC: 'the disk is full',
    errno.EDQUOT: 'your quota of the disk is used up',
    errno.EFBIG: 'it would be larger than a file may be there (ulimit -f)',
    errno.EROFS: 'the file system is read-only',
    errno.EACCES: 'permission denied',
    errno.EPERM: 'the operation is not permitted',
    errno.ENAMETOOLONG: 'the name is too long',
    errno.ENOTDIR: 'a part of its path is a file, not a folder',
    errno.EEXIST: 'something else of this name is there',
    errno.EISDIR: 'it is a folder, not a file',
    errno.ELOOP: 'links lead round in a circle',
    errno.ENOENT: 'it is not there, or no longer',
    errno.ENOTEMPTY: 'another process writes to it',
    errno.EMFILE: 'too many files are open (ulimit -n)',
    errno.ENFILE: 'too many files are open on this machine',
    errno.EAGAIN: 'no further process can be started (ulimit -u)',
}
_ROOM = (errno.ENOSPC, errno.EDQUOT)


def explained(error: Exception) -> str | None:
    """The message of an error that a user can mend; None for a bug."""
    if isinstance(error, UserError):
        return str(error)
    if is_shortage(error):
        return shortage(error)
    if isinstance(error, OSError) and error.errno in _REASONS:
        return _refusal(error)
    return None


def _refusal(error: OSError) -> str | None:
    """Which file, why not, and which key leads elsewhere."""
    assert error.errno is not None
    if error.strerror != os.strerror(error.errno):
        return str(error.strerror)  # the message of whoever wrote it
    reason, name = _REASONS[error.errno], error.filename2 or error.filename
    if not isinstance(name, str | Path):
        return f'the system refuses a file or process: {reason}'
    path = Path(name).absolute()
    key = _key(path)
    if key is None and error.errno == errno.ENOENT:
        return None  # a file of our own
    if error.errno in _ROOM:
        reason += f', {_free(path) / 1e6:,.1f} MB are free'
    elsewhere = key or 'of train: out_dir; of other commands: --out, --runs, --study'
    return f'{path} cannot be used: {reason}. Mend that, or choose another place ({elsewhere})'


def _free(path: Path) -> int:
    """Bytes, for this user, on the disk of a file that need not be there."""
    return shutil.disk_usage(next(folder for folder in path.parents if folder.is_dir())).free


def _key(path: Path) -> str | None:
    """What says where a file lies, as far as it is known."""
    places = {
        'GRAPHGPS_EXT_CACHE': os.environ.get('GRAPHGPS_EXT_CACHE'),
        'dataset.path': cfg.dataset.path,
        'dataset.dir': cfg.dataset.dir,
        'out_dir': cfg.out_dir,
    }
    return next((key for key, at in places.items() if at and path.is_relative_to(Path(at).absolute())), None)
