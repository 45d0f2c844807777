"""Models of one name that are not one: each gets what tells it apart, in brackets after its name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from graphgps_ext.train.finished import FinishedRun
from graphgps_ext.train.results import shared_settings

MODEL = ['dataset', 'model']
IDENTITY = ['config_hash', 'inputs_hash', 'metric']  # equal for runs of one mean
Kinds = dict[tuple[str, str | None], FinishedRun]  # config_hash and inputs_hash → one of the runs with them
NAMED, LISTED = 4, 10  # keys in a name, and in a note


def base_names(frame: pd.DataFrame) -> pd.Series:
    """The names of the models without the variants that an earlier table gave them."""
    pairs = zip(frame['model'], frame['variant'], strict=True)
    names = [model if pd.isna(variant) else model.removesuffix(f' ({variant})') for model, variant in pairs]
    return pd.Series(names, frame.index, 'string')


def told_apart(frame: pd.DataFrame, kinds: Kinds) -> tuple[pd.DataFrame, list[str]]:
    """Rows in which each data set and model has one config, inputs and metric; a note on each made two.

    Args:
        frame: the tidy table, with the names of :func:`base_names`.
        kinds: what is known of the configs; of the others their hashes are shown.
    """
    frame, notes = frame.copy(), []
    for (dataset, model), rows in frame.groupby(MODEL, sort=False):
        of_kinds = [*rows.groupby(IDENTITY, sort=False, dropna=False)]
        known = [(None if pd.isna(c) else c, None if pd.isna(i) else i, m) for (c, i, m), _ in of_kinds]
        variants: Sequence[str | None] = [None]
        if len(known) > 1:
            earlier = [None if not len(v := r['variant'].dropna()) else v.iloc[-1] for _, r in of_kinds]
            variants, differing = _variants(known, kinds, earlier)
            said = f'{dataset}/{model}: runs that differ in more than seed and split are kept apart'
            notes.append(f'{said}, by {differing}. Delete the folders, or rows of results.csv, not wanted.')
        for variant, (_, of_kind) in zip(variants, of_kinds, strict=True):
            frame.loc[of_kind.index, 'variant'] = variant
            frame.loc[of_kind.index, 'model'] = model if variant is None else f'{model} ({variant})'
    return frame, notes


def _variants(
    known: list[tuple[str | None, str | None, str]], kinds: Kinds, earlier: list[str | None]
) -> tuple[list[str], str]:
    """A name for each kind of one model, and what they differ in.

    Args:
        known: `IDENTITY` of each.
        kinds: see :func:`told_apart`.
        earlier: what an earlier table called them.
    """
    runs = {config: run for (config, _), run in kinds.items()}
    configs, pairs = [config for config, *_ in known], [pair for *pair, _ in known]
    parts: list[list[str]] = [[] for _ in known]
    differing: list[str] = []
    if len({*configs}) > 1:
        if not {*configs} <= {*runs} and None not in earlier and len({*earlier}) == len(known):
            return [str(name) for name in earlier], 'what their names say'
        flats = [shared_settings(runs[config].config) for config in configs if config in runs]
        keys = _unequal(flats) if {*configs} <= {*runs} else []
        texts = [', '.join(f'{key} {flat.get(key)}' for key in keys) for flat in flats]
        if not 0 < len(keys) <= NAMED or len({*texts}) < len({*configs}):
            texts = [f'config {config or "not recorded"}' for config in configs]
        differing += keys or ['config_hash']
        parts = [[*part, text] for part, text in zip(parts, texts, strict=True)]
    if len({*map(tuple, pairs)}) > len({*configs}):
        parts = [
            [*part, f'inputs {(i or "not recorded")[:12]}'] for part, (_, i) in zip(parts, pairs, strict=True)
        ]
        found = [kinds[pair].shared_inputs for pair in map(tuple, pairs) if pair in kinds]
        names = _unequal(found) if len(found) == len(known) else []
        differing += [f'other {name.replace("_", " ")}' for name in names] or ['inputs_hash']
    if len({*known}) > len({*map(tuple, pairs)}):
        parts = [[*part, metric] for part, (*_, metric) in zip(parts, known, strict=True)]
        differing += ['metric']
    more = [f'and {len(differing) - LISTED} more'] if len(differing) > LISTED else []
    return [', '.join(part) for part in parts], ', '.join([*differing[:LISTED], *more])


def _unequal(contents: list[dict[str, Any]]) -> list[str]:
    """Keys whose values are not the same in all."""
    keys = sorted({key for content in contents for key in content})
    return [key for key in keys if any(content.get(key) != contents[0].get(key) for content in contents)]
