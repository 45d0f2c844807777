"""The tables of a benchmark in Markdown and LaTeX, made from the same cells."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from graphgps_ext.benchmark.compare import LEVEL, TASK, cautions, run_count, summarize


@dataclass(frozen=True)
class Style:
    """How one format marks cells: patterns with a {} for the text."""

    best: str
    second: str
    worse: str
    plus_minus: str
    missing: str
    percent: str
    escape: Mapping[str, str] = field(default_factory=dict)

    def text(self, text: str) -> str:
        """A text, with what the format would misread escaped."""
        return text.translate({ord(sign): escaped for sign, escaped in self.escape.items()})


MARKDOWN = Style('**{}**', '*{}*', '{} †', ' ± ', '–', '%')
LATEX = Style(
    best=r'\textbf{{{}}}',
    second=r'\underline{{{}}}',
    worse=r'{}$^\dagger$',
    plus_minus=r' $\pm$ ',
    missing='--',
    percent=r'\%',
    escape={
        **{sign: rf'\{sign}' for sign in '_%&#'},
        **{'†': r'$^\dagger$', '±': r'$\pm$', '⁶': '$^6$', '<': '$<$'},
    },
)

NOTE = (
    'Test metric at the best epoch by validation, mean ± standard deviation over runs (population, ddof 0). '
    'Best bold, second {second}. † worse than the best: p < {level} in a paired t-test on the splits and '
    'seeds that both ran on, not corrected for the number of models; no mark: not told apart, or fewer than '
    'two runs in common. Edges: graph and expander edges used per layer, and their share of all. Time and '
    'memory: median seconds per epoch (evaluation included); training is that times the epochs, and it and '
    'the peaks are of both stages where there are two; memory in 10⁶ bytes, of the whole process with its '
    'libraries (RSS) and of allocations (GPU).'
)


def result_cell(row: Any, style: Style, form: str = '.4f') -> str:
    """`0.9064 ± 0.0020` with its marks; of a single run without a deviation.

    Args:
        row: a row of `summarize`.
        style: the format.
        form: of both numbers.
    """
    spread = f'{style.plus_minus}{row.std:{form}}' if row.runs > 1 else ''
    text = f'{row.mean:{form}}{spread}'
    text = {1: style.best, 2: style.second}.get(row.rank, '{}').format(text)
    return style.worse.format(text) if row.p < LEVEL and row.rank > 1 else text


def overview(summary: pd.DataFrame, style: Style) -> pd.DataFrame:
    """Models × data sets, in each cell the test metric, with the number of runs where it differs."""
    usual = summary.groupby(TASK)['runs'].transform('max')
    cells = [
        result_cell(row, style) + (f' ({row.runs})' if row.runs != most else '')
        for row, most in zip(summary.itertuples(), usual, strict=True)
    ]
    heads = summary['dataset'] + ' (' + summary['metric'] + ', ' + usual.map(run_count) + ')'
    models, heads = summary['model'].map(style.text), heads.map(style.text)
    table = pd.DataFrame({'model': models, 'head': heads, 'cell': cells}).pivot(index='model', columns='head')
    table = table['cell'].loc[models.unique(), heads.unique()]  # in their order, which a pivot sorts
    return table.fillna(style.missing).reset_index()


def details(rows: pd.DataFrame, style: Style) -> pd.DataFrame:
    """Result and cost of every model on one data set, the best first.

    Args:
        rows: of `summarize`, of one data set and metric.
        style: the format.
    """
    columns = {
        'model': rows['model'].map(style.text),
        f'test {rows["metric"].iloc[0]}': [result_cell(row, style) for row in rows.itertuples()],
        'val': numbers(rows['val'], '.4f', style),
        'runs': rows['runs'].astype(str),
        'params': numbers(rows['params'], ',.0f', style),
        'edges': numbers(rows['edges'], ',.0f', style),
        f'edges {style.percent}': numbers(rows['kept_share'], '.1f', style),
        's/epoch': numbers(rows['seconds_per_epoch'], '.3f', style),
        'training s': numbers(rows['seconds_all'], '.1f', style),
        'RSS MB': numbers(rows['peak_rss_mb'], ',.0f', style),
    }
    gpu = rows['peak_gpu_mb'].replace(0, math.nan)
    if gpu.notna().any():
        columns['GPU MB'] = numbers(gpu, ',.0f', style)
    return pd.DataFrame(columns)


def numbers(column: pd.Series, form: str, style: Style) -> pd.Series:
    """Numbers in their format, and the sign for missing ones."""
    return column.map(lambda value: style.missing if pd.isna(value) else format(value, form))


def _tables(frame: pd.DataFrame, style: Style, heading_of_all: str) -> dict[str, pd.DataFrame]:
    """Heading → table: that of all data sets, if there are several, then one for each and its metric."""
    summary = summarize(frame)
    tasks = summary.groupby(TASK)
    tables = {heading_of_all: overview(summary, style)} if len(tasks) > 1 else {}
    return tables | {f'{name} ({metric})': details(rows, style) for (name, metric), rows in tasks}


def markdown(frame: pd.DataFrame, title: str) -> str:
    """All tables as a Markdown page.

    Args:
        frame: the tidy table.
        title: heading of the page.
    """
    parts = [f'# {title}']
    for heading, table in _tables(frame, MARKDOWN, 'All data sets').items():
        parts += [f'## {heading}', markdown_table(table)]
    parts += map(wrapped, [NOTE.format(second='italic', level=LEVEL), *cautions(frame), made_with(frame)])
    return '\n\n'.join(parts) + '\n'


def wrapped(text: str) -> str:
    """A paragraph in lines of at most 110 characters; names stay whole."""
    return textwrap.fill(text, 110, break_long_words=False, break_on_hyphens=False)


def markdown_table(table: pd.DataFrame) -> str:
    """Cells of text as a Markdown table; all columns but the first two are aligned to the right."""
    align = ['left', 'left', *['right'] * (len(table.columns) - 2)]
    return table.to_markdown(index=False, disable_numparse=True, colalign=align)


def latex(frame: pd.DataFrame, title: str) -> str:
    """All tables as LaTeX `table` environments, for `\\usepackage{booktabs}`.

    Args:
        frame: the tidy table.
        title: begins the captions.
    """
    note = ' '.join([NOTE.format(second='underlined', level=LEVEL), *cautions(frame)])
    parts = [r'% needs \usepackage{booktabs}']
    for heading, table in _tables(frame, LATEX, 'all data sets').items():
        caption = LATEX.text(f'{title}: {heading}.' + (f' {note}' if len(parts) == 1 else ''))
        columns = 'll' + 'r' * (len(table.columns) - 2)
        body = table.to_latex(index=False, escape=False, column_format=columns).strip()
        lines = [r'\begin{table}', r'\centering', rf'\caption{{{caption}}}', body, r'\end{table}']
        parts.append('\n'.join(lines))
    return '\n\n'.join(parts) + '\n'


def made_with(frame: pd.DataFrame) -> str:
    """One sentence on where the rows were made."""

    def values(column: str) -> str:
        return ', '.join(sorted(set(frame[column].dropna()))) or 'not recorded'

    jobs = frame['jobs'].max()
    beside = (
        f' Up to {jobs} runs ran side by side, which makes times longer.'
        if pd.notna(jobs) and jobs > 1
        else ''
    )
    return (
        f'Made with torch {values("torch")}, PyG {values("torch_geometric")}, Python {values("python")} on '
        f'{values("device_name")}; revision {values("git_revision")}.{beside}'
    )
