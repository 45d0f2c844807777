"""Fingerprints tell data apart, and are remembered only for files that have not changed."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from graphgps_ext import fingerprints
from graphgps_ext.fingerprints import file_fingerprint, fingerprint, remembered


def test_fingerprint_is_of_values_dtype_and_shape() -> None:
    values = torch.arange(6)
    assert fingerprint(values) == fingerprint(values.numpy().copy()) and len(fingerprint(values)) == 32
    others = [values.flip(0), values.int(), values.reshape(2, 3), values[:5], values.float()]
    assert len({fingerprint(other) for other in [values, *others]}) == 6
    assert fingerprint(values[::2]) == fingerprint(values[::2].contiguous())
    assert fingerprint(values, values) != fingerprint(values)
    assert fingerprint('ab', 'c') != fingerprint('a', 'bc')
    assert fingerprint(torch.zeros(0, 3)) != fingerprint(torch.zeros(0, 4))


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that has lain there for a while; memory of its own."""
    monkeypatch.setenv('GRAPHGPS_EXT_CACHE', str(tmp_path / 'cache'))
    monkeypatch.setattr(fingerprints, '_SETTLED_SECONDS', -60.0)
    path = tmp_path / 'some.bin'
    path.write_bytes(b'some bytes')
    return path


def counted(path: Path, calls: list[Path]) -> Callable[[], tuple[list[Path], dict[str, str]]]:
    def compute() -> tuple[list[Path], dict[str, str]]:
        calls.append(path)
        return [path], {'bytes': path.read_text()}

    return compute


def test_a_file_is_read_once(file: Path) -> None:
    calls: list[Path] = []
    for _ in range(3):
        assert remembered('key', counted(file, calls)) == {'bytes': 'some bytes'}
    assert len(calls) == 1
    remembered('key', counted(file, calls), again=True)
    remembered('another key', counted(file, calls))
    assert len(calls) == 3


def overwrite(file: Path) -> None:
    before = file.stat()
    file.write_bytes(b'same bytes')
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))  # as some tools for copies do


def replace(file: Path) -> None:
    before = file.stat()
    other = file.with_name('other')
    other.write_bytes(b'same bytes')
    os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))
    other.replace(file)


@pytest.mark.parametrize('change', [overwrite, replace])
def test_a_file_that_has_changed_is_read_again(file: Path, change: Callable[[Path], None]) -> None:
    first = file_fingerprint(file)
    assert file_fingerprint(file) == first
    time.sleep(0.01)  # a tick of the file system's clock
    change(file)
    assert file_fingerprint(file) != first


def test_a_file_of_this_moment_is_not_remembered(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fingerprints, '_SETTLED_SECONDS', 2.0)
    calls: list[Path] = []
    for _ in range(2):
        remembered('key', counted(file, calls))
    assert len(calls) == 2


@pytest.mark.parametrize(
    'damage', [b'', b'{', b'[]', b'null', b'{"check": 1}', b'[' * 100_000], ids=lambda x: x[:12].decode()
)
def test_a_damaged_memory_is_forgotten(file: Path, tmp_path: Path, damage: bytes) -> None:
    first = file_fingerprint(file)
    (memory,) = (tmp_path / 'cache').rglob('*.json')
    memory.write_bytes(damage)
    assert file_fingerprint(file) == first
    text = memory.read_text()
    memory.write_text(text.replace(first, first[::-1]))  # a plausible lie
    assert file_fingerprint(file) == first


def test_without_a_place_to_remember_it_is_hashed_each_time(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / 'no folder').write_text('')
    monkeypatch.setenv('GRAPHGPS_EXT_CACHE', str(tmp_path / 'no folder'))
    assert file_fingerprint(file) == file_fingerprint(file)


def test_an_absent_file_is_the_callers_to_report(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        file_fingerprint(tmp_path / 'absent')
