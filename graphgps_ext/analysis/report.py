"""The report: numbers, one reading per figure, figures as PNG and in TensorBoard, a tidy CSV behind each."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure
from torch.utils.tensorboard import SummaryWriter

from graphgps_ext.analysis import figures, reading
from graphgps_ext.analysis.edge_types import ALL_EDGES
from graphgps_ext.analysis.measure import Measures
from graphgps_ext.analysis.tables import over_runs, select
from graphgps_ext.errors import OtherResultsError
from graphgps_ext.files import new_folder

_DPI = 150
FORMULAS = (
    'p: the scores of a node, divided by their sum; d: its number of in-edges. Entropy −Σ p log p (nats); '
    'perplexity e^entropy; inverse Simpson 1/Σ p²; energy distance √(2 ∫ (F − G)² dx) of the values of two '
    'rows, blind to which edge has which; squared Σ (p − q)²; total variation ½ Σ |p − q|; rank correlation: '
    "Spearman's, within a node. Baselines: uniform 1/d; random, uniform on the simplex (Dirichlet 1). "
    'All are means over nodes, then over runs, with the 95 % interval of Student over runs in brackets.'
)


@dataclass(frozen=True)
class _Part:
    """A section: its figure, its sentences, the tidy tables behind it and what of them is printed."""

    name: str
    title: str
    figure: Callable[[Measures], Figure]
    read: Callable[[Measures], list[str]]
    tables: tuple[str, ...]
    show: Callable[[Measures], pd.DataFrame]


def _wide(frame: pd.DataFrame, names: str, across: str, value: str = 'mean') -> pd.DataFrame:
    """Text cells `mean [low, high]` over runs: columns with these names, and one per value of `across`."""
    rows = over_runs(frame, value)
    rows['cell'] = [reading.interval_text(row.mean, row.low, row.high) for row in rows.itertuples()]
    wide = rows.pivot_table(index=names.split(), columns=across, values='cell', aggfunc='first', sort=False)
    return wide.reindex(columns=rows[across].unique()).fillna('–').reset_index()


def _coverage_table(measures: Measures) -> pd.DataFrame:
    rows = select(measures.coverage, edges=ALL_EDGES)
    rows = rows[rows['nodes_above'] >= 0.01 * rows['nodes']]
    count, share = rows['k'].map('k = {:g}'.format), rows['k'].map('{:.0%} of d'.format)
    rows = rows.assign(k=count.where(rows['kind'] == 'count', share))
    return _wide(rows, 'network layer', 'k', 'mean_above')


def _types_table(measures: Measures) -> pd.DataFrame:
    mass = _wide(measures.edge_types, 'network layer', 'name')
    share = _wide(measures.edge_types, 'network layer', 'name', 'edge_share')
    share = share.replace(r' \[.*', '', regex=True)  # the mean alone
    return mass.merge(share, on=['network', 'layer'], suffixes=('', ' (share of edges)'))


def _kept_table(measures: Measures) -> pd.DataFrame:
    rows = measures.kept.assign(degree=measures.kept['degree'].map('K = {}'.format))
    return _wide(rows, 'network layer', 'degree')


PARTS = (
    _Part('distances', 'Distance between networks', figures.distances_figure, reading.read_distances,
          ('distances',), lambda m: _wide(m.distances.drop(columns='reference_run'),
                                          'expander edges network layer', 'measure')),
    _Part('entropy', 'Entropy and effective number of neighbours', figures.entropy_figure,
          reading.read_entropy, ('entropy',),
          lambda m: _wide(m.entropy, 'network edges layer', 'measure')),
    _Part('layers', 'Layers compared with each other', figures.layers_figure, reading.read_layers,
          ('layers',), lambda m: _wide(m.layers, 'network layer other_layer', 'measure')),
    _Part('coverage', 'Top-k coverage', figures.coverage_figure, reading.read_coverage,
          ('coverage',), _coverage_table),
    _Part('edge_types', 'Attention by edge type', figures.edge_types_figure, reading.read_edge_types,
          ('edge_types',), _types_table),
    _Part('kept', 'Attention mass that sampling keeps', figures.kept_figure, reading.read_kept,
          ('kept', 'sampled'), _kept_table),
)  # fmt: skip


def markdown_table(table: pd.DataFrame) -> str:
    """A Markdown table; floats with four digits, `|` escaped."""
    return table.map(_cell).to_markdown(index=False, disable_numparse=True) + '\n'


def _cell(value: object) -> str:
    if isinstance(value, float):
        return '–' if math.isnan(value) else f'{value:.4g}'
    return str(value).replace('|', r'\|')


def write_report(
    folder: str | Path, measures: Measures, *, notes: Sequence[str] = (), extra: pd.DataFrame | None = None
) -> Path:
    """Write the report into `folder`, which is replaced whole or not at all.

    Files: report.md; for each part PART.png and the tidy tables behind it as CSV; runs.csv; events of
    TensorBoard with the figures; suggested_degrees.csv where `extra` is given.

    Args:
        folder: to be made; its parents too.
        measures: of :func:`measure`.
        notes: lines that stand at the head, such as the command and the revision.
        extra: the table of :func:`suggest_degrees`, with the columns `network` and `run` in front.

    Returns:
        The path of report.md.

    Raises:
        FileExistsError: if `folder` holds something that is no earlier report.
    """
    folder = Path(folder)
    if folder.exists() and any(folder.iterdir()) and not (folder / 'report.md').is_file():
        raise OtherResultsError(f'{folder} holds something else than an earlier report: choose another --out')
    folder.parent.mkdir(parents=True, exist_ok=True)
    with new_folder(folder) as partial:
        lines = ['# What the attention looks at', '', *[f'{note}  ' for note in notes], '', FORMULAS, '']
        lines += ['## Runs', '', markdown_table(measures.runs.drop(columns='path'))]
        measures.runs.to_csv(partial / 'runs.csv', index=False)
        with SummaryWriter(str(partial)) as writer:
            for part in PARTS:
                lines += _write_part(partial, part, measures, writer)
            if extra is not None:
                extra.to_csv(partial / 'suggested_degrees.csv', index=False)
                lines += ['## Suggested degrees', '', markdown_table(extra)]
            text = '\n'.join(lines)
            writer.add_text('report', text)
        (partial / 'report.md').write_text(text, encoding='utf-8')
    return folder / 'report.md'


def _write_part(folder: Path, part: _Part, measures: Measures, writer: SummaryWriter) -> list[str]:
    sentences = part.read(measures)
    lines = [f'## {part.title}', '', *[f'- {sentence}' for sentence in sentences], '']
    if getattr(measures, part.tables[0]).empty:
        return lines
    figure = part.figure(measures)
    figure.savefig(folder / f'{part.name}.png', dpi=_DPI)
    writer.add_figure(part.name, figure)
    files = []
    for name in part.tables:
        getattr(measures, name).to_csv(folder / f'{name}.csv', index=False)
        files.append(f'[{name}.csv]({name}.csv)')
    lines += [f'![{part.title}]({part.name}.png)', '', f'Numbers of every run: {", ".join(files)}.', '']
    return [*lines, markdown_table(part.show(measures))]
