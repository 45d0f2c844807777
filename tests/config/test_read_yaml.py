"""YAML files that lie, never end, or are no YAML at all: one clear error each, at once."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from graphgps_ext.config.tree import LARGEST_FILE, read_yaml, write_config
from graphgps_ext.errors import ConfigError, UserError


def doubling(first: str, group: str) -> str:
    """Twenty groups, each of which names the one before it several times."""
    lines = [f'n0: &n0 {first}']
    lines += [f'n{i}: &n{i} {group.format(*[f"*n{i - 1}"] * group.count("{}"))}' for i in range(1, 21)]
    return '\n'.join(lines)


@pytest.mark.parametrize(
    ('text', 'problem'),
    [
        ('[' * 10_000, 'line 1 has more than 20 groups or lists within each other'),
        ('{a: ' * 10_000, 'line 1 has more than 20 groups or lists within each other'),
        ('\n'.join(' ' * i + 'a:' for i in range(100)), 'line 20 has more than 20 groups'),
        (doubling('[x, x]', '[{}, {}, {}]'), 'line .* stands for more than 100000 keys and values'),
        (doubling('{x: 1}', '{{a: {}, b: {}, c: {}}}'), 'line .* stands for more than 100000'),
        (doubling('{x: 1}', '{{<<: [{}, {}, {}]}}'), 'line .* stands for more than 100000'),
        ('a: &a [*a]', 'the alias in line 1 stands within what it is an alias of'),
        ('a: &a {b: *a}', 'the alias in line 1 stands within what it is an alias of'),
        ('a: *b', "found undefined alias 'b'"),
        ('gt: {a: 1, a: 2}', 'a stands in line 1 and again in line 1'),
        ('1: 3\n"1": 4', '1 stands in line 1 and again in line 2'),
        ('b: &b {x: 1}\nc: {<<: *b, <<: *b}', '<< stands in line 2 and again in line 2'),
        ('gt:\n\tlayers: 3', r"found character '\\t'"),
        ('gt: "\0"', 'unacceptable character #x0000'),
        ('a: 1\n---\nb: 2', 'expected a single document'),
        ('? [1, 2]\n: 3', 'a key in line 1 is no text'),
        ('a: 2024-13-45', '2024-13-45 in line 1 is no valid timestamp'),
        ('a: ' + '9' * 5_000, '9{40} in line 1 is no valid int'),
        ('a: !!int ""', ' in line 1 is no valid int'),
        ('a: !!bool x', 'x in line 1 is no valid bool'),
        ('a: !!python/object/apply:os.system [x]', 'could not determine a constructor'),
    ],
)
def test_broken_or_endless_yaml_is_refused(tmp_path: Path, text: str, problem: str) -> None:
    path = tmp_path / 'some.yaml'
    path.write_text(text)
    with pytest.raises(ConfigError, match=f'some.yaml is not valid YAML: (.|\n)*{problem}'):
        read_yaml(path)


@pytest.mark.parametrize(
    ('content', 'problem'),
    [
        ('a: 1\nb: ü'.encode('latin-1'), 'needs to be UTF-8 text, got the byte 0xfc in line 2: save it'),
        ('a: 1'.encode('utf-16'), 'needs to be UTF-8 text, got the byte 0xff in line 1'),
        (b'#' * (LARGEST_FILE + 1), f'needs to be a text of at most {LARGEST_FILE} bytes'),
    ],
)
def test_file_that_is_no_small_utf8_text_is_refused(tmp_path: Path, content: bytes, problem: str) -> None:
    path = tmp_path / 'some.yaml'
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=f'some.yaml {problem}'):
        read_yaml(path)


def test_what_is_no_file_is_refused_without_opening_it(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / 'pipe')
    (tmp_path / 'loop').symlink_to('loop')
    for path in (tmp_path, tmp_path / 'pipe', tmp_path / 'loop', Path('/dev/zero')):
        with pytest.raises(ConfigError, match=f'{path} needs to be a file'):
            read_yaml(path)
    for name in ('absent', 'x' * 300, 'a\0b'):
        with pytest.raises(UserError, match='there is no file'):
            read_yaml(tmp_path / name)


def test_byte_order_mark_and_anchors_are_read(tmp_path: Path) -> None:
    path = tmp_path / 'some.yaml'
    path.write_bytes(b'\xef\xbb\xbfa: &a {x: 1}\nb: {<<: *a, y: 2}\non: *a\n')
    assert read_yaml(path) == {'a': {'x': 1}, 'b': {'x': 1, 'y': 2}, 'on': {'x': 1}}


def test_settings_replace_keys_that_the_source_names_with_dots(tmp_path: Path) -> None:
    source = tmp_path / 'source.yaml'
    source.write_text('gt.layers: 3\nspex:\n')
    write_config(tmp_path / 'new.yaml', source, {'gt.layers': 4, 'spex.fill': 'mask'}, 'made')
    assert read_yaml(tmp_path / 'new.yaml') == {'gt': {'layers': 4}, 'spex': {'fill': 'mask'}}
