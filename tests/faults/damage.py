"""Damage to one file: its bytes, what stands in its place, its text, its JSON."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from numpy.random import Generator

SENTINEL = 'code-was-run'  # the file that code hidden in a file would make, in the current folder

Damage = Callable[[Path, Generator], str]


class Malicious:
    """Runs code when it is unpickled: makes the file `SENTINEL`."""

    def __reduce__(self) -> Any:
        return os.system, (f'touch {SENTINEL}',)


def pick(draw: Generator, options: Any) -> Any:
    """One of several, drawn; unlike `Generator.choice` it leaves their types alone."""
    options = list(options)
    return options[int(draw.integers(len(options)))]


# --- bytes ---


def missing(path: Path, draw: Generator) -> str:
    path.unlink()
    return 'is missing'


def empty(path: Path, draw: Generator) -> str:
    path.write_bytes(b'')
    return 'is empty'


def cut(path: Path, draw: Generator) -> str:
    content = path.read_bytes()
    kept = int(draw.integers(1, max(2, len(content))))
    path.write_bytes(content[:kept])
    return f'is cut after {kept} of {len(content)} bytes'


def flipped_bit(path: Path, draw: Generator) -> str:
    content = bytearray(path.read_bytes())
    place, bit = int(draw.integers(len(content))), int(draw.integers(8))
    content[place] ^= 1 << bit
    path.write_bytes(content)
    return f'has bit {bit} of byte {place} flipped'


def zeroed_block(path: Path, draw: Generator) -> str:
    content = bytearray(path.read_bytes())
    place = int(draw.integers(len(content)))
    content[place : place + 64] = bytes(len(content[place : place + 64]))
    path.write_bytes(content)
    return f'has zeros from byte {place} on'


def longer(path: Path, draw: Generator) -> str:
    with path.open('ab') as file:
        file.write(draw.bytes(int(draw.integers(1, 200))))
    return 'has further bytes at its end'


def other_text(path: Path, draw: Generator) -> str:
    path.write_text('this is not what was here\n')
    return 'holds a text'


BYTES: dict[str, Damage] = {
    'missing': missing,
    'empty': empty,
    'cut': cut,
    'flipped bit': flipped_bit,
    'zeroed block': zeroed_block,
    'longer': longer,
    'other text': other_text,
}


# --- what is no file ---


def a_folder(path: Path, draw: Generator) -> str:
    path.unlink()
    path.mkdir()
    return 'is a folder'


def a_full_folder(path: Path, draw: Generator) -> str:
    content = path.read_bytes()
    path.unlink()
    path.mkdir()
    (path / path.name).write_bytes(content)
    return 'is a folder with the file in it'


def a_pipe(path: Path, draw: Generator) -> str:
    path.unlink()
    os.mkfifo(path)
    return 'is a named pipe'


def a_link_loop(path: Path, draw: Generator) -> str:
    path.unlink()
    path.symlink_to(path.name)
    return 'is a link to itself'


def a_link_to_nothing(path: Path, draw: Generator) -> str:
    path.unlink()
    path.symlink_to('what-is-not-there')
    return 'is a link to nothing'


def a_device(path: Path, draw: Generator) -> str:
    path.unlink()
    path.symlink_to('/dev/zero')
    return 'is a link to /dev/zero'


def unreadable(path: Path, draw: Generator) -> str:
    path.chmod(0)
    return 'may not be read'


IN_PLACE: dict[str, Damage] = {
    'a folder': a_folder,
    'a full folder': a_full_folder,
    'a pipe': a_pipe,
    'a link loop': a_link_loop,
    'a link to nothing': a_link_to_nothing,
    'a device': a_device,
    'unreadable': unreadable,
}


# --- text ---


def changed_digit(path: Path, draw: Generator) -> str:
    text = path.read_text()
    digits = [match.start() for match in re.finditer(r'\d', text)]
    if not digits:
        return longer(path, draw)
    place = pick(draw, digits)
    new = str((int(text[place]) + int(draw.integers(1, 10))) % 10)
    path.write_text(text[:place] + new + text[place + 1 :])
    line = text[: place + 1].count('\n') + 1
    return f'has a {new} in place of {text[place]} in line {line}'


def _with_lines(path: Path, change: Callable[[list[str]], None]) -> None:
    lines = path.read_text().splitlines(keepends=True)
    change(lines)
    path.write_text(''.join(lines))


def missing_line(path: Path, draw: Generator) -> str:
    number = int(draw.integers(len(path.read_text().splitlines())))
    _with_lines(path, lambda lines: lines.pop(number))  # type: ignore[arg-type, return-value]
    return f'has lost line {number + 1}'


def line_twice(path: Path, draw: Generator) -> str:
    number = int(draw.integers(len(path.read_text().splitlines())))
    _with_lines(path, lambda lines: lines.insert(number, lines[number]))
    return f'has line {number + 1} twice'


def swapped_lines(path: Path, draw: Generator) -> str:
    count = len(path.read_text().splitlines())
    if count < 2:
        return line_twice(path, draw)
    first = int(draw.integers(count - 1))

    def swap(lines: list[str]) -> None:
        lines[first], lines[first + 1] = lines[first + 1], lines[first]

    _with_lines(path, swap)
    return f'has lines {first + 1} and {first + 2} swapped'


def latin_1(path: Path, draw: Generator) -> str:
    content = path.read_bytes()
    place = int(draw.integers(len(content)))
    path.write_bytes(content[:place] + b'\xe9' + content[place:])
    return f'has the byte E9 at {place}, which is not UTF-8'


def utf_16(path: Path, draw: Generator) -> str:
    path.write_text(path.read_text(), encoding='utf-16')
    return 'is encoded as UTF-16'


def byte_order_mark(path: Path, draw: Generator) -> str:
    path.write_bytes(b'\xef\xbb\xbf' + path.read_bytes())
    return 'begins with a byte order mark'


def carriage_returns(path: Path, draw: Generator) -> str:
    path.write_bytes(path.read_bytes().replace(b'\n', b'\r\n'))
    return 'has the line ends of Windows'


def control_character(path: Path, draw: Generator) -> str:
    content = path.read_bytes()
    place = int(draw.integers(len(content)))
    path.write_bytes(content[:place] + pick(draw, [b'\x00', b'\x1b', b'\x7f']) + content[place:])
    return f'has a control character at byte {place}'


TEXT: dict[str, Damage] = {
    'changed digit': changed_digit,
    'missing line': missing_line,
    'line twice': line_twice,
    'swapped lines': swapped_lines,
    'latin-1': latin_1,
    'utf-16': utf_16,
    'byte order mark': byte_order_mark,
    'carriage returns': carriage_returns,
    'control character': control_character,
}


# --- JSON: one object, or one in each line ---


def json_damage(path: Path, draw: Generator) -> str:
    """Damage that leaves JSON, or almost."""
    text = path.read_text()
    by_line = path.name == 'stats.json'
    lines = text.splitlines() if by_line else [text]
    number = int(draw.integers(len(lines)))
    content = json.loads(lines[number])
    key = pick(draw, content)
    way = pick(draw, _JSON_WAYS)
    damaged, told = _JSON_WAYS[way](content, key, draw)
    lines[number] = damaged
    path.write_text('\n'.join(lines) + '\n')
    return f'{told} (line {number + 1})' if by_line else told


def _dropped(content: dict[str, Any], key: str, draw: Generator) -> tuple[str, str]:
    return json.dumps({k: v for k, v in content.items() if k != key}), f'has no {key}'


def _swapped(content: dict[str, Any], key: str, draw: Generator) -> tuple[str, str]:
    like = [k for k, v in content.items() if k != key and type(v) is type(content[key])]
    if not like:
        return _dropped(content, key, draw)
    other = pick(draw, like)
    new = {**content, key: content[other], other: content[key]}
    return json.dumps(new), f'has {key} and {other} swapped'


STRANGE_VALUES: tuple[Any, ...] = (
    None,
    True,
    -1,
    2**70,
    float('nan'),
    float('inf'),
    '',
    'text',
    [],
    [1],
    {},
    {'a': 1},
    0.5,
)


def _retyped(content: dict[str, Any], key: str, draw: Generator) -> tuple[str, str]:
    value = pick(draw, STRANGE_VALUES)
    return json.dumps({**content, key: value}), f'has {value!r} as {key}'


def _deep(content: dict[str, Any], key: str, draw: Generator) -> tuple[str, str]:
    depth = 100_000
    mark = json.dumps(content | {key: '\0'})
    return mark.replace(
        json.dumps('\0'), '[' * depth + ']' * depth
    ), f'has {depth} lists in each other as {key}'


def _huge_number(content: dict[str, Any], key: str, draw: Generator) -> tuple[str, str]:
    mark = json.dumps(content | {key: '\0'})
    return mark.replace(json.dumps('\0'), '9' * 5000), f'has a number of 5000 digits as {key}'


def _twice(content: dict[str, Any], key: str, draw: Generator) -> tuple[str, str]:
    text = json.dumps(content)
    return f'{text[:-1]}, {json.dumps(key)}: {json.dumps(pick(draw, STRANGE_VALUES))}}}', f'has {key} twice'


def _whole_other(content: dict[str, Any], key: str, draw: Generator) -> tuple[str, str]:
    other = pick(draw, [[], {}, None, 1, 'text', [content]])
    return json.dumps(other), f'holds {type(other).__name__} in place of the object'


def _nudged(content: dict[str, Any], key: str, draw: Generator) -> tuple[str, str]:
    """Another plausible number."""
    numbers = [k for k, v in content.items() if type(v) in (int, float)]
    if not numbers:
        return _dropped(content, key, draw)
    key = pick(draw, numbers)
    value = content[key]
    new = value + 1 if type(value) is int else round(value * 0.99 + 0.001, 6)
    return json.dumps({**content, key: new}), f'has {new} in place of {value} as {key}'


_JSON_WAYS: dict[str, Callable[[dict[str, Any], str, Generator], tuple[str, str]]] = {
    'dropped': _dropped,
    'swapped': _swapped,
    'retyped': _retyped,
    'deep': _deep,
    'huge number': _huge_number,
    'twice': _twice,
    'whole other': _whole_other,
    'nudged': _nudged,
}


# --- exchange ---


def replaced_by(path: Path, other: Path) -> None:
    """Puts a copy of another file, or folder, in the place of one."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
    if other.is_dir():
        shutil.copytree(other, path, symlinks=True)
    else:
        shutil.copyfile(other, path)
