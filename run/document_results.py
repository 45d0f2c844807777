"""Writes the tables of docs/results.md: python run/document_results.py [--check]

What was measured is read from docs/results.csv (several seeds on one split) and docs/results-splits.csv (one
seed on each of several splits), what others report from docs/published.csv. For each table the page has a
line `<!-- table:<data set> -->`, or `<!-- table:splits/<data set> -->` for the second file, and a line
`<!-- /table -->`; what is outside of them is left alone.
"""

from __future__ import annotations

import argparse
import math
import re
import sys
from pathlib import Path
from typing import Any

import pandas as pd

from graphgps_ext.benchmark.compare import cautions, on_gpu, summarize
from graphgps_ext.benchmark.table import MARKDOWN, made_with, markdown_table, numbers, result_cell
from graphgps_ext.benchmark.tidy import KEY, read_csv

REPOSITORY = Path(__file__).resolve().parent.parent
TEXTS, NUMBERS = ('dataset', 'model', 'source', 'protocol', 'reason'), ('value', 'std')  # of published.csv
END = '<!-- /table -->'
BLOCK = re.compile(rf'<!-- table:(\S+) -->\n.*?{END}', re.DOTALL)
SPLITS = 'splits/'  # before the name of a data set: the table is of results-splits.csv
METRICS = {'auc': 'AUC'}  # others are shown as they are called
OURS = ('Spexphormer', 'SpexphormerPlus')
TOLERANCE = 1.0  # points below the published number from which on the page has to say what differs
SUPERSCRIPT = str.maketrans('0123456789', '⁰¹²³⁴⁵⁶⁷⁸⁹')


def results_file(table: str) -> str:
    """The file of measured rows behind a table."""
    return 'results-splits.csv' if table.startswith(SPLITS) else 'results.csv'


def page_tables(page: str) -> list[str]:
    """The tables that a page has markers for: `<data set>` or `splits/<data set>`.

    Raises:
        ValueError: if the markers are not pairs, one for each table.
    """
    names: list[str] = BLOCK.findall(page)
    if not len(names) == page.count('<!-- table:') == page.count(END):
        raise ValueError(f'each line <!-- table:<data set> --> needs a line {END} after it')
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f'one table is needed for each data set, got more of {", ".join(repeated)}')
    return names


def read_results(folder: Path, tables: list[str]) -> dict[str, pd.DataFrame]:
    """The measured rows of each table.

    Raises:
        ValueError: if there are rows that the page would not show or would count twice.
    """
    rows = {}
    for file in sorted({results_file(table) for table in tables}):
        frame, _ = read_csv(folder / file)
        shown = {table.removeprefix(SPLITS): table for table in tables if results_file(table) == file}
        if left_out := sorted(set(frame['dataset']) - set(shown)):
            raise ValueError(f'{file} has rows of {", ".join(left_out)}, for which the page has no markers')
        if len(twice := frame[frame.duplicated(KEY)]):
            raise ValueError(f'{file} needs one row for each run, got more of {_names(twice)}')
        metrics = frame.groupby('dataset')['metric'].nunique()
        if several := [*metrics.index[metrics > 1]]:
            raise ValueError(f'{file} needs one metric for each data set, got more of {", ".join(several)}')
        rows |= {table: frame[frame['dataset'] == dataset] for dataset, table in shown.items()}
    return rows


def read_published(path: Path, datasets: list[str], models: list[str]) -> pd.DataFrame:
    """The published numbers, one row for each data set and model.

    Raises:
        ValueError: listing every row that cannot be used.
    """
    frame = pd.read_csv(path, dtype=dict.fromkeys(TEXTS, 'string') | dict.fromkeys(NUMBERS, 'float64'))
    if set(frame.columns) != {*TEXTS, *NUMBERS}:
        raise ValueError(f'{path.name} needs the columns {", ".join((*TEXTS, *NUMBERS))}')
    for column in TEXTS:
        frame[column] = frame[column].fillna('').str.strip()
    is_fraction = frame['value'].between(0, 1) & frame['std'].fillna(0).between(0, 1)
    wrong = {
        f'data sets without a table ({", ".join(datasets)})': ~frame['dataset'].isin(datasets),
        'models without a folder in configs': ~frame['model'].isin(models),
        'two rows of one model': frame.duplicated(['dataset', 'model']),
        'values that are no fractions of 1': ~is_fraction,
        'no source': frame['source'] == '',
    }
    if problems := [f'{what}: {_names(frame[rows])}' for what, rows in wrong.items() if rows.any()]:
        raise ValueError(f'{path.name} has\n' + '\n'.join(f'  - {problem}' for problem in problems))
    return frame


def _names(frame: pd.DataFrame) -> str:
    return ', '.join(dict.fromkeys(frame['dataset'] + '/' + frame['model']))


def label(model: str) -> str:
    """A model as the table names it."""
    if model.lower().endswith('estimator'):  # Spexphormer-estimator; NoAnnealingEstimator
        name = model[: -len('estimator')].rstrip('-')
        return f'stage 1 of {name if name.startswith("Spexphormer") else f"Spexphormer{name}"}'
    return f'**{model}**' if model in OURS else model


def dataset_table(frame: pd.DataFrame, published: pd.DataFrame) -> tuple[str, list[str]]:
    """Results, published numbers and costs of the models on one data set, the best first.

    Args:
        frame: the measured rows of the data set.
        published: its published numbers.

    Returns:
        The table with what stands below it, and the models for which it has to say why they are below the
        published number but cannot.
    """
    if not len(frame):
        return 'no runs yet', []
    rows = summarize(frame).merge(published, 'left', 'model', suffixes=('', '_published'))
    rows[['mean', 'std', 'value', 'std_published']] *= 100
    rows['splits'] = rows['model'].map(frame.groupby('model')['split'].nunique())
    points = (rows['mean'] - rows['value']).round(2)
    rows['difference'] = numbers(points, '+.2f', MARKDOWN).str.replace('-', '−')
    # Models whose numbers have one source and one protocol share a footnote, counted from 1.
    note, notes = pd.factorize((rows['source'] + '; ' + rows['protocol']).str.removesuffix('; '))
    rows['note'] = note + 1
    has_gpu_peak = rows['peak_gpu_mb'] > 0
    peak = numbers(rows['peak_gpu_mb'].where(has_gpu_peak, rows['peak_rss_mb']), ',.0f', MARKDOWN)
    kind = has_gpu_peak.map({True: 'GPU', False: 'RSS'})
    one_kind = kind.nunique() == 1
    columns = {
        'model': rows['model'].map(label),
        f'test {METRICS.get(rows["metric"][0], rows["metric"][0])}, %': [
            result_cell(row, MARKDOWN, '.2f') for row in rows.itertuples()
        ],
        'published': [_published(row) for row in rows.itertuples()],
        'difference': rows['difference'],
        'seeds': [
            f'{row.runs}' if row.splits == 1 else f'{row.runs} ({row.splits} splits)'
            for row in rows.itertuples()
        ],
        'parameters': numbers(rows['params'], ',.0f', MARKDOWN),
        'edges per layer': numbers(rows['edges'], ',.0f', MARKDOWN),
        's/epoch': numbers(rows['seconds_per_epoch'], '.2f', MARKDOWN),
        'training s': numbers(rows['seconds_all'], '.0f', MARKDOWN),
        f'{kind[0] if one_kind else "peak"} MB': peak if one_kind else peak + ' ' + kind,
    }
    parts = [markdown_table(pd.DataFrame(columns)), _about(frame)]
    below = rows[points < -TOLERANCE]
    if len(below):
        reasons = '- ' + below['model'] + ' (' + below['difference'] + '): ' + below['reason']
        parts.append(
            '\n'.join(['More than a point below the published number, and what differs:\n', *reasons])
        )
    if len(notes):
        parts.append('\n'.join(f'{order}. {text}.' for order, text in enumerate(notes, 1)))
    return '\n\n'.join(parts), [*below['model'][below['reason'] == '']]


def _published(row: Any) -> str:
    if math.isnan(row.value):
        return MARKDOWN.missing
    spread = '' if math.isnan(row.std_published) else f'{MARKDOWN.plus_minus}{row.std_published:.2f}'
    return f'{row.value:.2f}{spread} {str(row.note).translate(SUPERSCRIPT)}'


def _about(frame: pd.DataFrame) -> str:
    """One line on where the rows come from."""
    splits = sorted(set(frame['split']))
    text = f'Split{"s" if len(splits) > 1 else ""} {", ".join(map(str, splits))}. {made_with(frame)}'
    kinds = frame.assign(on_gpu=on_gpu(frame)).groupby('model')['on_gpu'].nunique()
    if both_kinds := [*kinds.index[kinds > 1]]:
        text += f' Costs of {", ".join(both_kinds)} are those on the GPU.'
    return ' '.join([text, *cautions(frame)])


def with_tables(
    page: str, results: dict[str, pd.DataFrame], published: pd.DataFrame
) -> tuple[str, list[str]]:
    """The page with current tables, and `dataset/model` of what has to say why it is below but does not."""
    unexplained: list[str] = []

    def block(match: re.Match[str]) -> str:
        name = match[1]
        others = published[published['dataset'] == name.removeprefix(SPLITS)]
        text, models = dataset_table(results[name], others)
        unexplained.extend(f'{name}/{model}' for model in models)
        note = (
            f'<!-- Written by run/document_results.py from docs/{results_file(name)} and docs/published.csv: '
            'edit those. -->'
        )
        return f'<!-- table:{name} -->\n{note}\n\n{text}\n\n{END}'

    return BLOCK.sub(block, page), unexplained


def main() -> None:
    """Writes the tables, or only checks that they are current and complete."""
    parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
    parser.add_argument('--check', action='store_true', help='write nothing; fail if the page is not current')
    parser.add_argument(
        '--docs', type=Path, default=REPOSITORY / 'docs', help='the folder with the page and its data'
    )
    args = parser.parse_args()
    path = args.docs / 'results.md'
    old = path.read_text(encoding='utf-8')
    try:
        tables = page_tables(old)
        datasets = list(dict.fromkeys(table.removeprefix(SPLITS) for table in tables))
        models = sorted(folder.name for folder in (REPOSITORY / 'configs').iterdir())
        published = read_published(args.docs / 'published.csv', datasets, models)
        new, unexplained = with_tables(old, read_results(args.docs, tables), published)
    except ValueError as error:
        sys.exit(f'error: {error}')
    problems = []
    if args.check and new != old:
        problems.append(
            f'{path.name} is not current: run python run/document_results.py and commit the result'
        )
    if unexplained:
        problems.append(
            f'more than {TOLERANCE:g} point below the published number, without a reason in published.csv: '
            f'{", ".join(unexplained)}'
        )
    if not args.check and new != old:
        path.write_text(new, encoding='utf-8')
    if problems and args.check:
        sys.exit('\n'.join(problems))
    print(*problems, sep='\n', end='\n' if problems else '', file=sys.stderr)


if __name__ == '__main__':
    main()
