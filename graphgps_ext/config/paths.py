"""Paths as a user writes them."""

from __future__ import annotations

from pathlib import Path

from graphgps_ext.errors import ConfigError


def user_path(text: str | Path) -> Path:
    """The path, with `~` as the home folder and `~name` as that of a user; of config keys and of options.

    Raises:
        ConfigError: if there is no such user.
    """
    try:
        return Path(text).expanduser()
    except RuntimeError:
        raise ConfigError(f'there is no home folder for {text}: write the whole path') from None
