"""`stats.json` is taken up where a checkpoint was written, and only if its lines are those written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from graphgps_ext.errors import DataError
from graphgps_ext.train.stats import SPLITS, Stats, read_stats, stats_file


@pytest.fixture
def state(tmp_path: Path) -> dict[str, tuple[int, str]]:
    """That after three epochs, of which the second had no evaluation; then comes a fourth."""
    stats = Stats(tmp_path)
    for epoch in range(3):
        for split in SPLITS if epoch != 1 else SPLITS[:1]:
            stats.append(split, {'epoch': epoch, 'loss': 0.5 / (epoch + 1)})
    state = stats.state()
    stats.append('train', {'epoch': 3, 'loss': 0.1})
    assert not list(tmp_path.rglob('*.json'))
    stats.write()
    return state


def test_epochs_after_the_checkpoint_are_dropped(tmp_path: Path, state: dict[str, tuple[int, str]]) -> None:
    with stats_file(tmp_path, 'val').open('a') as file:
        file.write('{"epoch": 3, "lo')
    stats = Stats(tmp_path)
    stats.go_on(state)
    assert stats.state() == state
    assert [record['epoch'] for record in read_stats(tmp_path, 'train')] == [0, 1, 2]
    assert [record['epoch'] for record in read_stats(tmp_path, 'val')] == [0, 2]
    for split in SPLITS:
        stats.append(split, {'epoch': 3})
        stats.write()
        assert read_stats(tmp_path, split)[-1] == {'epoch': 3}
    again = Stats(tmp_path)
    again.go_on(stats.state())
    assert again.state() == stats.state() != state


def change_digit(path: Path) -> None:
    path.write_text(path.read_text().replace('0.25', '0.26').replace('0.5', '0.6'))


def cut(path: Path) -> None:
    path.write_text(path.read_text().splitlines(keepends=True)[0])


def repeat(path: Path) -> None:
    first = path.read_text().splitlines(keepends=True)[0]
    path.write_text(first + path.read_text())


@pytest.mark.parametrize('damage', [change_digit, cut, repeat, Path.unlink])
@pytest.mark.parametrize('split', SPLITS)
def test_other_lines_are_refused_and_nothing_changes(
    tmp_path: Path, state: dict[str, tuple[int, str]], damage: Callable[[Path], None], split: str
) -> None:
    damage(stats_file(tmp_path, split))
    before = {file: file.read_bytes() for file in tmp_path.rglob('*.json')}
    with pytest.raises(DataError, match=f'{split}/stats.json is damaged: the first [23] epochs in it'):
        Stats(tmp_path).go_on(state)
    assert {file: file.read_bytes() for file in tmp_path.rglob('*.json')} == before


def test_a_run_without_checkpoint_begins_with_nothing(tmp_path: Path, state: object) -> None:
    stats = Stats(tmp_path)
    stats.begin()
    assert not list(tmp_path.rglob('*.json')) and stats.state()['train'][0] == 0
