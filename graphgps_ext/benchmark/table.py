"""The tables of a benchmark in Markdown and LaTeX, made from the same cells."""

from __future__ import annotations

import math
import textwrap
from dataclasses import dataclass
from typing import Any

import pandas as pd

from graphgps_ext.benchmark.compare import LEVEL, run_count, summarize


@dataclass(frozen=True)
class Style:
    """How one format marks cells: patterns with a {} for the text."""

    best: str
    second: str
    worse: str
    plus_minus: str
    missing: str
    percent: str
    escape: tuple[tuple[str, str], ...] = ()

    def text(self, text: str) -> str:
        """A name, with what the format would misread escaped."""
        for sign, escaped in self.escape:
            text = text.replace(sign, escaped)
        return text


MARKDOWN = Style('**{}**', '*{}*', '{} †', ' ± ', '–', '%')
LATEX = Style(
    best=r'\textbf{{{}}}',
    second=r'\underline{{{}}}',
    worse=r'{}$^\dagger$',
    plus_minus=r' $\pm$ ',
    missing='--',
    percent=r'\%',
    escape=(('_', r'\_'), ('%', r'\%'), ('&', r'\&'), ('#', r'\#')),
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
    rows: dict[str, dict[str, str]] = {}
    usual = summary.groupby('dataset')['runs'].max()
    for row in summary.itertuples():
        cell = result_cell(row, style)
        if row.runs != usual[row.dataset]:
            cell += f' ({row.runs})'
        head = style.text(f'{row.dataset} ({row.metric}, {run_count(usual[row.dataset])})')
        rows.setdefault(style.text(row.model), {})[head] = cell
    table = pd.DataFrame.from_dict(rows, orient='index').fillna(style.missing)
    return table.rename_axis('model').reset_index()


def details(summary: pd.DataFrame, dataset: str, style: Style) -> pd.DataFrame:
    """Result and cost of every model on one data set, the best first."""
    rows = []
    for row in summary[summary['dataset'] == dataset].itertuples():
        cells = {
            'model': style.text(row.model),
            f'test {row.metric}': result_cell(row, style),
            'val': number(row.val, '.4f', style),
            'runs': str(row.runs),
            'params': number(row.params, ',.0f', style),
            'edges': number(row.edges, ',.0f', style),
            f'edges {style.percent}': number(row.kept_share, '.1f', style),
            's/epoch': number(row.seconds_per_epoch, '.3f', style),
            'training s': number(row.seconds_all, '.1f', style),
            'RSS MB': number(row.peak_rss_mb, ',.0f', style),
            'GPU MB': number(row.peak_gpu_mb or math.nan, ',.0f', style),
        }
        rows.append(cells)
    table = pd.DataFrame(rows)
    return table.drop(columns=[c for c in ('GPU MB',) if (table[c] == style.missing).all()])


def number(value: float, form: str, style: Style) -> str:
    """A number in its format, or the sign for a missing one."""
    return style.missing if pd.isna(value) else format(value, form)


def _heading(summary: pd.DataFrame, dataset: str) -> str:
    return f'{dataset} ({summary.loc[summary["dataset"] == dataset, "metric"].iloc[0]})'


def markdown(frame: pd.DataFrame, title: str) -> str:
    """All tables as a Markdown page.

    Args:
        frame: the tidy table.
        title: heading of the page.
    """
    summary = summarize(frame)
    datasets = list(dict.fromkeys(summary['dataset']))
    parts = [f'# {title}']
    if len(datasets) > 1:
        parts += ['## All data sets', markdown_table(overview(summary, MARKDOWN))]
    for dataset in datasets:
        parts += [f'## {_heading(summary, dataset)}', markdown_table(details(summary, dataset, MARKDOWN))]
    parts += [_wrapped(NOTE.format(second='italic', level=LEVEL)), _wrapped(made_with(frame))]
    return '\n\n'.join(parts) + '\n'


def _wrapped(text: str) -> str:
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
    summary = summarize(frame)
    datasets = list(dict.fromkeys(summary['dataset']))
    tables = {'all data sets': overview(summary, LATEX)} if len(datasets) > 1 else {}
    tables |= {_heading(summary, dataset): details(summary, dataset, LATEX) for dataset in datasets}
    note = NOTE.format(second='underlined', level=LEVEL)
    for sign, written in (('†', r'$^\dagger$'), ('±', r'$\pm$'), ('⁶', '$^6$'), ('<', '$<$')):
        note = note.replace(sign, written)
    parts = [r'% needs \usepackage{booktabs}']
    for number, (heading, table) in enumerate(tables.items()):
        caption = LATEX.text(f'{title}: {heading}.') + (f' {note}' if number == 0 else '')
        columns = 'll' + 'r' * (len(table.columns) - 2)
        body = table.to_latex(index=False, escape=False, column_format=columns).strip()
        lines = [r'\begin{table}', r'\centering', rf'\caption{{{caption}}}', body, r'\end{table}']
        parts.append('\n'.join(lines))
    return '\n\n'.join(parts) + '\n'


def made_with(frame: pd.DataFrame) -> str:
    """One sentence on where the rows were made."""

    def values(column: str) -> str:
        return ', '.join(sorted(set(frame[column].dropna()))) or 'not recorded'

    jobs = sorted(set(frame['jobs'].dropna()))
    beside = (
        f' Up to {max(jobs)} runs ran side by side, which makes times longer.'
        if jobs and max(jobs) > 1
        else ''
    )
    return (
        f'Made with torch {values("torch")}, PyG {values("torch_geometric")}, Python {values("python")} on '
        f'{values("device_name")}; revision {values("git_revision")}.{beside}'
    )
