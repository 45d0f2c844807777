"""Config keys as a tree of groups: read from YAML, named by dotted keys, written as YAML."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from graphgps_ext.errors import ConfigError, MissingFileError
from graphgps_ext.files import written

LARGEST_FILE = 10**5  # bytes; a config has some thousand
LARGEST_TREE = 10**5  # keys, values and groups of a file, those repeated by aliases too
DEEPEST = 20  # groups and lists within each other; a config has three
TEXT, MERGE = 'tag:yaml.org,2002:str', 'tag:yaml.org,2002:merge'
# What PyYAML raises beside its own errors, for scalars that are not of the kind they claim: dates such as
# 2024-13-01, numbers of thousands of digits, tags such as `!!int x`.
BROKEN_SCALAR = (ValueError, TypeError, LookupError, AttributeError, ArithmeticError)


class _Loader(yaml.SafeLoader):
    """Refuses what YAML would take without a word, or never finish.

    Of a key that stands twice in a group YAML keeps the last; some lines of aliases of aliases stand for more
    than fits in memory.
    """

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.depth = 0
        self.sizes: dict[yaml.Node, int] = {}  # aliases written out; absent while a node is read

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node:
        line = self.peek_event().start_mark.line + 1
        is_alias = self.check_event(yaml.AliasEvent)
        self.depth += 1
        if self.depth > DEEPEST:
            raise yaml.YAMLError(f'line {line} has more than {DEEPEST} groups or lists within each other')
        node = super().compose_node(parent, index)
        self.depth -= 1
        if is_alias and node not in self.sizes:
            raise yaml.YAMLError(f'the alias in line {line} stands within what it is an alias of')
        if not is_alias:
            self.sizes[node] = 1 + sum(self.sizes.get(child, 1) for child in _children(node))
        if self.sizes[node] > LARGEST_TREE:
            raise yaml.YAMLError(f'line {line} stands for more than {LARGEST_TREE} keys and values')
        return node

    def compose_mapping_node(self, anchor: str | None) -> yaml.MappingNode:
        group = super().compose_mapping_node(anchor)
        lines: dict[str, int] = {}
        for number, (key, value) in enumerate(group.value):
            line, name = key.start_mark.line + 1, key.value
            if not isinstance(key, yaml.ScalarNode):
                raise yaml.YAMLError(f'a key in line {line} is no text')
            if key.value in lines:
                raise yaml.YAMLError(
                    f'{key.value} stands in line {lines[key.value]} and again in line {line}'
                )
            lines[key.value] = line
            if key.tag not in (TEXT, MERGE):  # `on`, which YAML takes for True, and `yes` would be one key
                text = yaml.ScalarNode(TEXT, name, key.start_mark, key.end_mark)
                group.value[number] = (text, value)
        return group

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep)
        except BROKEN_SCALAR:
            line, kind = node.start_mark.line + 1, node.tag.rpartition(':')[2]
            raise yaml.YAMLError(f'{str(node.value)[:40]} in line {line} is no valid {kind}') from None


def _children(node: yaml.Node) -> list[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        return [part for pair in node.value for part in pair]
    return node.value if isinstance(node, yaml.SequenceNode) else []


def read_small_text(path: Path) -> str:
    """The text of a config, a grid or a search space.

    Raises:
        MissingFileError: if there is nothing of this name.
        ConfigError: if it is no file, too large, or not UTF-8.
    """
    if not os.path.isfile(path):  # which has an answer for every name, and opens no pipe
        if not os.path.lexists(path):
            raise MissingFileError(f'there is no file {path}')
        raise ConfigError(f'{path} needs to be a file, got a folder, a pipe or a broken link')
    with path.open('rb') as file:
        content = file.read(LARGEST_FILE + 1)
    if len(content) > LARGEST_FILE:
        raise ConfigError(f'{path} needs to be a text of at most {LARGEST_FILE} bytes, got more')
    try:
        return content.decode('utf-8-sig')
    except UnicodeDecodeError as error:
        line = content.count(b'\n', 0, error.start) + 1
        raise ConfigError(
            f'{path} needs to be UTF-8 text, got the byte {content[error.start]:#04x} in line {line}: '
            f'save it as UTF-8'
        ) from None


def read_yaml(path: Path) -> dict[str, Any]:
    """The groups of keys in a YAML file; none if it is empty.

    Raises:
        MissingFileError: if there is no such file.
        ConfigError: if it is not YAML, holds something else, or one key stands twice in a group.
    """
    text = read_small_text(path)
    try:
        tree = yaml.load(text, _Loader)
    except yaml.YAMLError as error:
        raise ConfigError(f'{path} is not valid YAML: {error}') from None
    if tree is None:
        return {}
    if not isinstance(tree, dict):
        raise ConfigError(f'{path} needs groups of keys, got {type(tree).__name__}')
    return tree


def flatten(tree: dict[str, Any], prefix: str = '') -> Iterator[tuple[str, Any]]:
    """The dotted keys of a tree and their values, in its order."""
    for key, value in tree.items():
        if isinstance(value, dict):
            yield from flatten(value, f'{prefix}{key}.')
        else:
            yield f'{prefix}{key}', value


def get(tree: dict[str, Any], key: str) -> Any:
    """The value of a dotted key."""
    node: Any = tree
    for part in key.split('.'):
        node = node[part]
    return node


def put(tree: dict[str, Any], key: str, value: Any) -> None:
    """Sets a dotted key; groups that are absent, or empty in a file, are made."""
    *groups, name = key.split('.')
    for group in groups:
        if tree.get(group) is None:
            tree[group] = type(tree)()
        tree = tree[group]
    tree[name] = value


def words(settings: Mapping[str, Any]) -> list[str]:
    """Keys and values as on a command line: key, value, key, value, ..."""
    return [str(word) for pair in settings.items() for word in pair]


class _Dumper(yaml.SafeDumper):
    """Lists in one line, groups in several."""


_Dumper.add_representer(
    list, lambda dumper, data: dumper.represent_sequence('tag:yaml.org,2002:seq', data, flow_style=True)
)


def write_config(path: Path, source: Path, settings: Mapping[str, Any], title: str) -> None:
    """Writes the config file `source` with other settings to `path`, whole or not at all.

    Args:
        path: of the new file.
        source: the file that it is made from; its comments are lost.
        settings: dotted keys and their values.
        title: a comment for its first line.
    """
    tree: dict[str, Any] = {}  # all in groups: the source may name keys with dots
    for key, value in [*flatten(read_yaml(source)), *settings.items()]:
        put(tree, key, value)
    text = yaml.dump(tree, Dumper=_Dumper, sort_keys=False, allow_unicode=True)
    with written(path) as temporary:
        temporary.write_text(f'# {title}\n{text}', encoding='utf-8')
