"""Names of data sets as users write them."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from graphgps_ext.errors import ConfigError


def match_name(name: str, known: Iterable[str], source: str) -> str:
    """The known name that equals `name` up to case and `_` for `-`.

    Raises:
        ValueError: if there is none; suggests the nearest one and lists all.
    """
    by_key = {candidate.lower(): candidate for candidate in known}
    key = name.lower().replace('_', '-')
    if key in by_key:
        return by_key[key]
    nearest = difflib.get_close_matches(key, by_key, n=1)
    hint = f'; did you mean {by_key[nearest[0]]}?' if nearest else ''
    raise ConfigError(
        f'dataset.name {name!r} is no data set of {source}{hint} (known: {", ".join(by_key.values())})'
    )
