"""Settings as command lines and config files."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import yaml
from tune_space import Settings

from graphgps_ext.config.tree import put, read_yaml


def pairs(words: Sequence[str]) -> dict[str, str]:
    """Overrides of the command line as keys and texts."""
    return dict(zip(words[::2], words[1::2], strict=False))


def words(settings: Settings) -> list[str]:
    """Keys and values as on a command line."""
    return [word for key, value in settings.items() for word in (key, str(value))]


class _Dumper(yaml.SafeDumper):
    """Lists in one line, groups in several."""


_Dumper.add_representer(
    list, lambda dumper, data: dumper.represent_sequence('tag:yaml.org,2002:seq', data, flow_style=True)
)


def write_config(folder: Path, source: Path, settings: Settings, title: str) -> None:
    """Writes the config file `source` with other settings to `folder`, whole or not at all."""
    tree = read_yaml(source)
    for key, value in settings.items():
        put(tree, key, value)
    folder.mkdir(parents=True, exist_ok=True)
    temporary = folder / f'{source.name}.tmp'
    text = yaml.dump(tree, Dumper=_Dumper, sort_keys=False, allow_unicode=True)
    temporary.write_text(title.format(source) + text, encoding='utf-8')
    os.replace(temporary, folder / source.name)
