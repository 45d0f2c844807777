"""Config files made from others."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from graphgps_ext.files import written


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
    tree = yaml.safe_load(source.read_text(encoding='utf-8')) or {}
    for key, value in settings.items():
        *groups, name = key.split('.')
        node = tree
        for group in groups:
            node[group] = node.get(group) or {}  # a group all of whose keys are comments is None
            node = node[group]
        node[name] = list(value) if isinstance(value, tuple) else value
    text = yaml.dump(tree, Dumper=_Dumper, sort_keys=False, allow_unicode=True)
    with written(path) as temporary:
        temporary.write_text(f'# {title}\n{text}', encoding='utf-8')
