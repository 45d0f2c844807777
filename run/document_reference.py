"""Writes the tables of docs/reference.md: python run/document_reference.py [--check]

Everything in them is read from the repository: config files from the folder configs; data sets from the
tables in the docstrings of graphgps_ext/loader/datasets; keys from the config groups; names from GraphGym's
registries, with the first paragraph of their docstrings. What stands outside of the markers is left alone.
"""

from __future__ import annotations

import argparse
import inspect
import re
import sys
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd

with warnings.catch_warnings():
    warnings.simplefilter('ignore', FutureWarning)  # of a third party's import
    from torch_geometric.graphgym import register

    import graphgps_ext  # noqa: F401  (fills the registries)
    from graphgps_ext.config import GROUPS
    from graphgps_ext.config.graphgym import LIMITS
    from graphgps_ext.config.key import Group, Key, Limits
    from graphgps_ext.loader import datasets

REPOSITORY = Path(__file__).resolve().parent.parent
PAGE = REPOSITORY / 'docs' / 'reference.md'
BEGIN, END = '<!-- reference: begin -->', '<!-- reference: end -->'
NOTE = '<!-- Written by run/document_reference.py from docstrings, config keys and configs: edit those. -->'

# What selects a name of each registry, in the order of the page.
SELECTED_BY = {
    'train': '`train.mode` (with `run/main.py`)',
    'network': '`model.type`',
    'layer': '`gnn.layer_type` (with `model.type: gnn`)',
    'head': '`gnn.head`',
    'node_encoder': '`dataset.node_encoder_name`',
    'edge_encoder': '`dataset.edge_encoder_name`',
    'loader': 'every `dataset.format` below',
    'optimizer': '`optim.optimizer`',
    'scheduler': '`optim.scheduler`',
}
NOT_SELECTED = {'spex_attention_scores': 'used by `model.type: spex_estimator`'}


def registered_names() -> list[tuple[str, str, Any]]:
    """(registry, name, object) of all this package put into GraphGym's registries, config groups left out.

    Raises:
        ValueError: for a registry that `SELECTED_BY` does not know.
    """
    ours = [
        (attribute.removesuffix('_dict'), name, thing)
        for attribute, content in vars(register).items()
        if attribute.endswith('_dict') and attribute != 'config_dict' and isinstance(content, dict)
        for name, thing in content.items()
        if getattr(thing, '__module__', '').split('.')[0] == 'graphgps_ext'
    ]
    if unknown := sorted({registry for registry, _, _ in ours} - SELECTED_BY.keys()):
        raise ValueError(f'SELECTED_BY needs an entry for each registry in use, got none for {unknown}')
    order = list(SELECTED_BY)
    return sorted(ours, key=lambda found: (order.index(found[0]), found[1]))


def summary(thing: Any) -> str:
    """The first paragraph of the docstring, on one line.

    Raises:
        ValueError: if there is none.
    """
    text = inspect.getdoc(thing)
    if not text:
        raise ValueError(f'{thing!r} needs a docstring, got none')
    return ' '.join(text.split('\n\n')[0].split())


def key_rows(group: Group) -> list[tuple[str, str, str, str]]:
    """(name, type, default, meaning with the allowed values where it does not say them) of each key."""
    return [
        (f'`{name}`', type(key.default).__name__, _shown(key.default), _meaning(key))
        for name, key in group.keys.items()
    ]


def _meaning(key: Key) -> str:
    said = key.choices and all(choice in key.meaning for choice in key.choices)
    allowed = '' if said else _limits(key)
    return f'{key.meaning} {allowed[0].upper()}{allowed[1:]}.' if allowed else key.meaning


def _limits(limits: Limits) -> str:
    return ', '.join(filter(None, [limits.allowed, '' if limits.most is None else f'at most {limits.most}']))


def docstring_table(thing: Any) -> list[str]:
    """The lines of the table in a docstring.

    Raises:
        ValueError: if there is none.
    """
    lines = [line for line in (inspect.getdoc(thing) or '').splitlines() if line.startswith('|')]
    if not lines:
        raise ValueError(f'the docstring of {thing.__name__} needs a table, got none')
    return [re.sub(r':\w+:(`\w+`)', r'\1', line) for line in lines]


def table(header: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> list[str]:
    """The lines of a Markdown table."""
    cells = pd.DataFrame([[cell.replace('|', r'\|') for cell in row] for row in rows], columns=list(header))
    return cells.to_markdown(index=False, disable_numparse=True).splitlines()


def config_rows() -> Iterator[tuple[str, str]]:
    """(folder, data sets) of the shipped config files."""
    for folder in sorted((REPOSITORY / 'configs').iterdir()):
        if folder.name != 'search':
            datasets_of_model = sorted({file.stem.rpartition('-')[0] for file in folder.glob('*.yaml')})
            yield f'`{folder.name}`', ', '.join(datasets_of_model)


def _shown(value: Any) -> str:
    return f'`{value}`' if isinstance(value, str) and value else f'`{value!r}`'


def reference() -> str:
    """The tables, as Markdown."""
    names = (
        (f'`{name}`', NOT_SELECTED.get(name, SELECTED_BY[registry]), registry, summary(thing))
        for registry, name, thing in registered_names()
    )
    lines = ['## Models and data sets of the configs', '', *table(('folder', 'data sets'), config_rows()), '']
    lines += ['## Data sets', '', *docstring_table(datasets), '']
    lines += ['## A file with a graph of your own', '']
    lines += [summary(datasets.load_file), '', *docstring_table(datasets.load_file), '']
    lines += ['## Keys', '', "Beside GraphGym's own. Defaults are those of an empty config file.", '']
    for name, group in GROUPS.items():
        file = f'graphgps_ext/config/{name.removeprefix("spex_ext_")}.py'
        lines += [f'**{group.title}** Defined in [{file}](../{file}).', '']
        lines += [*table(('key', 'type', 'default', 'meaning'), key_rows(group)), '']
    lines += ["Of GraphGym's own keys these have limits:", '']
    limits = ((f'`{name}`', _limits(key)) for name, key in LIMITS.items() if _limits(key))
    lines += [*table(('key', 'allowed'), limits), '']
    lines += ['## Names', '', *table(('name', 'selected by', 'registry', 'what it is'), names)]
    return '\n'.join(lines)


def with_reference(text: str) -> str:
    """The text of the page with the tables between its markers.

    Raises:
        ValueError: if it does not have each marker once, in order.
    """
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end) or any(marker in before + after for marker in (BEGIN, END)):
        raise ValueError(f'the page needs the lines {BEGIN} and {END} once each, in this order')
    return f'{before}{BEGIN}\n{NOTE}\n\n{reference()}\n\n{END}{after}'


def main() -> None:
    """Writes the tables, or only checks that they are current."""
    parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
    parser.add_argument('--check', action='store_true', help='write nothing; fail if it is not current')
    parser.add_argument('--page', type=Path, default=PAGE, help='the file with the markers')
    args = parser.parse_args()
    old = args.page.read_text(encoding='utf-8')
    try:
        new = with_reference(old)
    except ValueError as error:
        sys.exit(f'error: {error}')
    if args.check and new != old:
        sys.exit(
            f'{args.page.name} is not current: run python run/document_reference.py and commit the result'
        )
    if new != old:
        args.page.write_text(new, encoding='utf-8')


if __name__ == '__main__':
    main()
