"""What may happen to a small file of a run: to be given its path."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path


def replace_by_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def replace_by_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def replace_by_loop(path: Path) -> None:
    path.unlink()
    path.symlink_to(path)


DAMAGES: dict[str, Callable[[Path], object]] = {
    'empty': lambda path: path.write_bytes(b''),
    'cut': lambda path: path.write_bytes(path.read_bytes()[:20]),
    'noise': lambda path: path.write_bytes(bytes(range(256))),
    'a list': lambda path: path.write_text('[1, 2]'),
    'a number': lambda path: path.write_text('1'),
    'of no keys': lambda path: path.write_text('{}'),
    'deep': lambda path: path.write_text('{"metric": ' * 20_000),
    'folder': replace_by_folder,
    'pipe': replace_by_pipe,
    'loop': replace_by_loop,
    'gone': lambda path: path.unlink(),
}
