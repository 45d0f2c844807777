"""One process at a time in a run folder; the second is told who the first is."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from graphgps_ext.errors import OtherResultsError
from graphgps_ext.train.lock import locked, refuse_if_locked


def test_second_is_refused_and_told_of_the_first(tmp_path: Path) -> None:
    folder = tmp_path / 'run'
    refuse_if_locked(folder)
    assert not folder.exists()
    with locked(folder):
        for enter in (refuse_if_locked, lambda path: locked(path).__enter__()):
            with pytest.raises(OtherResultsError, match=f'in use by process {os.getpid()} on .*since 2'):
                enter(folder)
    assert list(folder.iterdir()) == []
    with locked(folder):
        pass


def test_a_killed_process_holds_nothing(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    if not (child := os.fork()):
        with locked(tmp_path):
            os.write(writing, b'held')
            signal.pause()
    assert os.read(reading, 4) == b'held'
    with pytest.raises(OtherResultsError, match=f'process {child} '):
        refuse_if_locked(tmp_path)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    refuse_if_locked(tmp_path)
    with locked(tmp_path):
        pass
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize('content', ['', '{', '[]', '{}', '\xff'])
def test_what_stands_in_the_lock_does_not_matter(tmp_path: Path, content: str) -> None:
    with locked(tmp_path):
        (tmp_path / '.lock').write_text(content, encoding='latin-1')
        with pytest.raises(OtherResultsError, match='in use by another process'):
            refuse_if_locked(tmp_path)
