"""Files and folders that appear whole or not at all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import platformdirs


def cache_folder() -> Path:
    """Where this package keeps what it can make again: $GRAPHGPS_EXT_CACHE, or the user's cache folder."""
    return Path(os.environ.get('GRAPHGPS_EXT_CACHE') or platformdirs.user_cache_dir('graphgps_ext'))


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


def delete_left(folder: Path) -> None:
    """Delete what killed processes have half written below a folder, but not what living ones are writing."""
    for path in folder.rglob('.[0-9]*.*'):
        process = path.name.split('.')[1]
        if process.isdigit() and not _is_alive(int(process)):
            with suppress(OSError):  # it harms nobody, and a disk that is only read keeps it
                path.unlink()


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass  # that of somebody else
    return process != os.getpid()  # that of a killed one, whose number this process has got


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Give a folder to write into, which is renamed to `path` on success and removed on any failure.

    It lies beside `path`, so that the rename is atomic; what a killed process left there is removed first.
    What lies at `path` already, a folder or anything else, is replaced.
    """
    partial = path.with_name(f'.{path.name}.partial')
    try:
        delete(partial)
        partial.mkdir(parents=True)
        yield partial
        _sync(partial)
        _replace(path, partial)
    finally:
        delete(partial)


def write_bytes(file: Path, content: bytes) -> None:
    """Write `content`, through to the disk."""
    with naming(file), file.open('wb') as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())


def _replace(path: Path, partial: Path) -> None:
    old = path.with_name(f'.{path.name}.old')
    delete(old)
    if os.path.lexists(path):
        path.rename(old)
    try:
        partial.rename(path)
    except OSError:
        if os.path.lexists(old):
            old.rename(path)
        raise
    delete(old)
    _sync(path.parent)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def delete(path: Path) -> None:
    """Delete a file or folder, if there is one; of a link, the link alone."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
