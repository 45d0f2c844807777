"""Config files made from others."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from graphgps_ext.config.tree import put, read_yaml
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
    tree = read_yaml(source)
    for key, value in settings.items():
        put(tree, key, value)
    text = yaml.dump(tree, Dumper=_Dumper, sort_keys=False, allow_unicode=True)
    with written(path) as temporary:
        temporary.write_text(f'# {title}\n{text}', encoding='utf-8')
