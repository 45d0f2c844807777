"""`~` in the options of all commands; in keys of a config see test_any_value.py."""

from __future__ import annotations

from pathlib import Path

import pytest

from graphgps_ext.benchmark.configs import find_files
from graphgps_ext.commands import analyze, benchmark, tune
from graphgps_ext.config.paths import user_path
from graphgps_ext.config.shipped import find_config
from graphgps_ext.errors import ConfigError


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv('HOME', str(tmp_path))
    (tmp_path / 'some.yaml').write_text('seed: 1')
    return tmp_path


def test_files_are_found_in_the_home_folder(home: Path) -> None:
    assert find_config('~/some.yaml') == home / 'some.yaml'
    assert find_files(['~/some.yaml']) == find_files(['~/*.yaml']) == [home / 'some.yaml']


def test_folders_and_files_to_be_written_lie_in_it(home: Path) -> None:
    args = benchmark.parse(['a/b', '--out', '~/out', '--grid', '~/grid.txt', '--collect', '~/a', '~/b'])
    assert (args.out, args.grid, args.collect) == (home / 'out', home / 'grid.txt', [home / 'a', home / 'b'])
    assert tune.parse(['--cfg', 'a', '--space', 'b', '--study', '~/some.db']).study == home / 'some.db'
    args = analyze.parse(['--out', '~/out', '--runs', '~/runs', '--widths', '4', '--cfg', 'a'])
    assert (args.out, args.runs) == (home / 'out', home / 'runs')


def test_user_without_a_home_folder_is_named() -> None:
    with pytest.raises(ConfigError, match='there is no home folder for ~nobody-here/x: write the whole path'):
        user_path('~nobody-here/x')


@pytest.mark.parametrize('name', ['/', '', '..', 'a\0b', 'x' * 5000, '/dev/zero'])
def test_name_that_no_config_can_have_is_refused(name: str) -> None:
    with pytest.raises(FileNotFoundError, match='there is no config file'):
        find_config(name)
