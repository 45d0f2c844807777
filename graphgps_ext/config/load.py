"""Loading of a config file with overrides, with messages that name the key to turn."""

from __future__ import annotations

import ast
import difflib
from collections.abc import Iterator, Sequence
from pathlib import Path

from torch_geometric.graphgym.config import assert_cfg, set_cfg
from yacs.config import CfgNode

from graphgps_ext.config import KEYS
from graphgps_ext.config.check import check_config
from graphgps_ext.config.tree import flatten, put, read_yaml
from graphgps_ext.errors import ConfigError


def load_config(cfg: CfgNode, path: str | Path, overrides: Sequence[str] = ()) -> None:
    """Fills `cfg` from defaults, a YAML file and `key value` pairs, and checks it.

    Args:
        cfg: GraphGym's live cfg.
        path: the YAML file.
        overrides: key, value, key, value, ... as on the command line.

    Raises:
        ConfigError: with one message for everything that is wrong.
    """
    set_cfg(cfg)
    known = dict(flatten(cfg))
    if missing := [key for key in KEYS if key not in known]:
        raise ConfigError(
            f'another plugin has replaced config groups of graphgps_ext: {", ".join(missing[:3])} and '
            f'{len(missing)} keys in all are gone; import that plugin (graphgps) before graphgps_ext'
        )
    path = Path(path)
    if not path.is_file():
        raise ConfigError(f'there is no config file {path} (--cfg)')
    # All keys of a group in the file may be commented out.
    in_file = [
        (key, value)
        for key, value in flatten(read_yaml(path))
        if value is not None or not isinstance(cfg.get(key), CfgNode)
    ]
    pairs = [*in_file, *_parse_overrides(overrides, known)]
    problems = [problem for key, value in pairs if (problem := _problem(key, value, known))]
    if problems:
        raise ConfigError(f'{path} cannot be loaded:\n' + '\n'.join(f'  - {p}' for p in problems))
    for key, value in pairs:  # not by yacs, which takes the text '1' for a number
        put(cfg, key, list(value) if isinstance(value, tuple) else value)
    check_config(cfg)
    assert_cfg(cfg)


def _parse_overrides(overrides: Sequence[str], known: dict[str, object]) -> Iterator[tuple[str, object]]:
    if len(overrides) % 2:
        raise ConfigError(f'overrides need pairs of key and value, got {" ".join(overrides)}')
    for key, text in zip(overrides[::2], overrides[1::2], strict=True):
        if key.startswith('--'):
            raise ConfigError(f'{key} has to stand before the overrides (key value ...)')
        if isinstance(known.get(key), str):  # a text as it stands, also where it looks like a number
            yield key, text
            continue
        try:
            yield key, ast.literal_eval(text)
        except (ValueError, SyntaxError):
            yield key, text


def _problem(key: str, value: object, known: dict[str, object]) -> str | None:
    if key not in known:
        near = difflib.get_close_matches(key, known, n=1, cutoff=0.0)
        return f'{key} is not a config key; the nearest is {near[0]}'
    old = known[key]
    if old is None or type(value) is type(old) or {type(old), type(value)} == {list, tuple}:
        return None
    got = 'nothing' if value is None else f'{type(value).__name__} {value!r}'
    return f'{key} needs {type(old).__name__}, got {got}{_hint(old, value)}'


def _hint(old: object, value: object) -> str:
    """How to write a number so that it is a float: YAML reads 1 as a whole number and 1e-3 as a text."""
    if not isinstance(old, float) or type(value) not in (int, str):
        return ''
    try:
        return f' (write {float(value)})'  # type: ignore[arg-type]
    except ValueError:
        return ''
