"""Loading of a config file with overrides, with messages that name the key to turn."""

from __future__ import annotations

import ast
import difflib
import os
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from torch_geometric.graphgym.config import assert_cfg, set_cfg
from yacs.config import CfgNode

from graphgps_ext.config import KEYS
from graphgps_ext.config.check import check_config, limits_of
from graphgps_ext.config.graphgym import LIMITS
from graphgps_ext.config.key import shown
from graphgps_ext.config.paths import user_path
from graphgps_ext.config.tree import flatten, get, put, read_yaml
from graphgps_ext.errors import ConfigError

PATHS = tuple(key for key, limits in {**LIMITS, **KEYS}.items() if limits.path)


def load_config(cfg: CfgNode, path: str | Path, overrides: Sequence[str] = ()) -> frozenset[str]:
    """Fills `cfg` from defaults, a YAML file and `key value` pairs, and checks it.

    `~` in a path is expanded here, and nowhere else.

    Args:
        cfg: GraphGym's live cfg.
        path: the YAML file.
        overrides: key, value, key, value, ... as on the command line.

    Returns:
        The keys that were asked for: all overrides, and those that the file sets to another value than their
        default (it may be the whole config of a run).

    Raises:
        ConfigError: with one message for everything that is wrong.
    """
    cfg.clear()  # also of keys that a run has added
    set_cfg(cfg)
    known = dict(flatten(cfg))
    if missing := [key for key in KEYS if key not in known]:
        raise ConfigError(
            f'another plugin has replaced config groups of graphgps_ext: {", ".join(missing[:3])} and '
            f'{len(missing)} keys in all are gone; import that plugin (graphgps) before graphgps_ext'
        )
    path = Path(path)
    if not os.path.isfile(path):
        raise ConfigError(f'there is no config file {path} (--cfg)')
    # All keys of a group in the file may be commented out.
    in_file = [
        (key, value)
        for key, value in flatten(read_yaml(path))
        if value is not None or not isinstance(cfg.get(key), CfgNode)
    ]
    overriding = [*_parse_overrides(overrides, known)]
    pairs = [*in_file, *overriding]
    counts = Counter(key for key, _ in in_file)
    problems = [f'{key} stands twice, in its group and with dots' for key in counts if counts[key] > 1]
    problems += [
        f'{key} is computed from the data and cannot be set'  # the config that a run has written has them
        for key, _ in overriding
        if key in known and key.startswith('share.')
    ]
    problems += [problem for key, value in pairs if (problem := _problem(key, value, known))]
    if problems:
        # What else the file asks for may be wrong by itself.
        typed = [(key, value) for key, value in pairs if not _problem(key, value, known)]
        problems += [problem for key, value in typed if (problem := limits_of(key).problem(key, value))]
        raise ConfigError(f'{path} cannot be loaded:\n' + '\n'.join(f'  - {p}' for p in problems))
    for key, value in pairs:  # not by yacs, which takes the text '1' for a number
        put(cfg, key, list(value) if isinstance(value, tuple) else value)
    asked = {key for key, _ in overriding} | {key for key, value in in_file if value != known[key]}
    if 'gnn.layers_post_mp' not in {key for key, _ in pairs}:
        cfg.gnn.layers_post_mp = 1  # of GraphGym's default, 0, GraphGym makes 1 with a warning
    check_config(cfg)
    for key in PATHS:
        put(cfg, key, _expanded(key, get(cfg, key)))
    assert_cfg(cfg)
    return frozenset(asked)


def _expanded(key: str, text: str) -> str:
    try:
        return str(user_path(text)) if text.startswith('~') else text
    except ValueError as error:
        raise ConfigError(f'{key}: {error}') from None


def _parse_overrides(overrides: Sequence[str], known: dict[str, object]) -> Iterator[tuple[str, object]]:
    if len(overrides) % 2:
        raise ConfigError(f'overrides need pairs of key and value, got {" ".join(overrides)}')
    for key, text in zip(overrides[::2], overrides[1::2], strict=True):
        if key.startswith('--'):
            raise ConfigError(f'{key} has to stand before the overrides (key value ...)')
        # A text as it stands, also where it looks like a number.
        yield key, text if isinstance(known.get(key), str) else parse_literal(text)


def parse_literal(text: str) -> Any:
    """The Python value that a text writes out; the text itself if it is none."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore', SyntaxWarning)  # of texts with a backslash
            return ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):  # the last for deep nesting
        return text


def _problem(key: str, value: object, known: dict[str, object]) -> str | None:
    if key not in known:
        near = difflib.get_close_matches(key[:100], known, n=1, cutoff=0.0)
        return f'{key[:100]} is not a config key; the nearest is {near[0]}'
    old = known[key]
    if old is None or type(value) is type(old) or {type(old), type(value)} == {list, tuple}:
        return None
    got = 'nothing' if value is None else f'{type(value).__name__} {shown(value)}'
    return f'{key} needs {type(old).__name__}, got {got}{_hint(old, value)}'


def _hint(old: object, value: object) -> str:
    """How to write a number so that it is a float: YAML reads 1 as a whole number and 1e-3 as a text."""
    if not isinstance(old, float) or type(value) not in (int, str):
        return ''
    try:
        return f' (write {float(value)})'  # type: ignore[arg-type]
    except (ValueError, OverflowError):
        return ''
