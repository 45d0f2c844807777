"""Config keys as a tree of groups: read from YAML, named by dotted keys, written as YAML."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from graphgps_ext.errors import ConfigError
from graphgps_ext.files import written


class _Loader(yaml.SafeLoader):
    """Refuses a key that stands twice in a group, of which YAML would silently keep the last."""

    def compose_mapping_node(self, anchor: str | None) -> yaml.MappingNode:
        group = super().compose_mapping_node(anchor)
        lines: dict[tuple[str, str], int] = {}
        for key, _ in group.value:
            name, line = (key.tag, str(key.value)), key.start_mark.line + 1
            if name in lines:
                raise yaml.YAMLError(f'{key.value} stands in line {lines[name]} and again in line {line}')
            lines[name] = line
        return group


def read_yaml(path: Path) -> dict[str, Any]:
    """The groups of keys in a YAML file; none if it is empty.

    Raises:
        ConfigError: if it is not YAML, holds something else, or one key stands twice in a group.
    """
    try:
        tree = yaml.load(path.read_text(encoding='utf-8'), _Loader)
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
    tree = read_yaml(source)
    for key, value in settings.items():
        put(tree, key, value)
    text = yaml.dump(tree, Dumper=_Dumper, sort_keys=False, allow_unicode=True)
    with written(path) as temporary:
        temporary.write_text(f'# {title}\n{text}', encoding='utf-8')
