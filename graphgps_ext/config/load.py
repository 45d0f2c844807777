"""Loading of a config file with overrides, with messages that name the key to turn."""

from __future__ import annotations

import ast
import difflib
from collections.abc import Iterator, Sequence
from pathlib import Path

import yaml
from torch_geometric.graphgym.config import assert_cfg, set_cfg
from yacs.config import CfgNode

from graphgps_ext.config.check import ConfigError, check_config


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
    path = Path(path)
    if not path.is_file():
        raise ConfigError(f'there is no config file {path} (--cfg)')
    try:
        tree = yaml.safe_load(path.read_text(encoding='utf-8')) or {}
    except yaml.YAMLError as error:
        raise ConfigError(f'{path} is not valid YAML: {error}') from None
    if not isinstance(tree, dict):
        raise ConfigError(f'{path} needs groups of keys, got {type(tree).__name__}')
    pairs = [*_flatten(tree), *_parse_overrides(overrides)]
    known = dict(_flatten(cfg))
    problems = [problem for key, value in pairs if (problem := _problem(key, value, known))]
    if problems:
        raise ConfigError(f'{path} cannot be loaded:\n' + '\n'.join(f'  - {p}' for p in problems))
    cfg.merge_from_list([part for pair in pairs for part in pair])
    assert_cfg(cfg)
    check_config(cfg)


def _flatten(tree: dict, prefix: str = '') -> Iterator[tuple[str, object]]:
    for key, value in tree.items():
        if isinstance(value, dict):
            yield from _flatten(value, f'{prefix}{key}.')
        else:
            yield f'{prefix}{key}', value


def _parse_overrides(overrides: Sequence[str]) -> Iterator[tuple[str, object]]:
    if len(overrides) % 2:
        raise ConfigError(f'overrides need pairs of key and value, got {" ".join(overrides)}')
    for key, text in zip(overrides[::2], overrides[1::2], strict=True):
        if key.startswith('--'):
            raise ConfigError(f'{key} has to stand before the overrides (key value ...)')
        try:
            yield key, ast.literal_eval(text)
        except (ValueError, SyntaxError):
            yield key, text


def _problem(key: str, value: object, known: dict[str, object]) -> str | None:
    if key not in known:
        near = difflib.get_close_matches(key, known, n=1, cutoff=0.0)
        return f'{key} is not a config key; the nearest is {near[0]}'
    old = known[key]
    if old is None or value is None or type(value) is type(old):
        return None
    if {type(old), type(value)} == {list, tuple}:
        return None
    hint = f' (write {float(value)})' if isinstance(old, float) and type(value) is int else ''
    return f'{key} needs {type(old).__name__}, got {type(value).__name__} {value!r}{hint}'
