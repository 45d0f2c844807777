"""The config files that come with the package, found by name from any folder."""

from __future__ import annotations

import difflib
import os
from pathlib import Path

from graphgps_ext.config.paths import user_path
from graphgps_ext.errors import MissingFileError

_PACKAGE = Path(__file__).resolve().parent.parent
# A wheel has them inside the package; in a checkout they stand beside it.
SHIPPED = _PACKAGE / 'configs' if (_PACKAGE / 'configs').is_dir() else _PACKAGE.parent / 'configs'


def shipped(name: str | Path) -> Path:
    """Where the package has a config file or folder `name`; `configs/` and `.yaml` may be left out."""
    path = SHIPPED / str(name).removeprefix('configs/')
    with_suffix = Path(f'{path}.yaml')
    return with_suffix if os.path.isfile(with_suffix) else path


def like(name: str | Path) -> str:
    """The shipped names nearest to one that is not there, as the end of a message."""
    names = [str(path.relative_to(SHIPPED).with_suffix('')) for path in SHIPPED.rglob('*.yaml')]
    wanted = str(name).removeprefix('configs/').removesuffix('.yaml')
    near = difflib.get_close_matches(wanted, names, n=3)
    return f'; shipped under names like it: {", ".join(near)}' if near else ''


def find_config(name: str | Path, option: str = '--cfg') -> Path:
    """The file `name`, or the shipped one of that name, such as `Spexphormer/actor-estimator`.

    Args:
        name: a path, or a name within `configs/`.
        option: that asked for it, for the message.

    Raises:
        MissingFileError: if there is neither; with the nearest names.
    """
    for path in (user_path(name), shipped(name)):
        if os.path.isfile(path):  # which has an answer for every name
            return path
    raise MissingFileError(f'there is no config file {name} ({option}){like(name)}')
