"""Figures of a benchmark: what accuracy costs, as PNG files and in TensorBoard."""

from __future__ import annotations

import re
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator, StrMethodFormatter
from torch.utils.tensorboard import SummaryWriter

from graphgps_ext.benchmark.compare import TASK, run_count, summarize
from graphgps_ext.files import written

LOG_FROM = 5.0  # an axis is logarithmic if its largest value is this many times the smallest
LINE = 0.035  # height of a line of text, as a share of the axes' height
# Name of the figure → column of `summarize`, label of its axis.
AGAINST = {
    'memory': ('memory', '{device} memory, peak of training [MB]'),
    'time': ('seconds_all', 'training time, both stages [s]'),
    'edges': ('kept_share', 'graph and expander edges kept per layer [%]'),
}


def model_colors(models: list[str]) -> dict[str, tuple[float, ...]]:
    """A colour for each model, the same in all figures of a benchmark."""
    paired = matplotlib.colormaps['tab20'].colors  # type: ignore[attr-defined]
    dimmed = [tuple(0.7 * part for part in color) for color in paired[1::2]]  # too light for text
    wheel = [*paired[::2], *dimmed]
    return {model: wheel[number % len(wheel)] for number, model in enumerate(sorted(models))}


def make_figures(frame: pd.DataFrame) -> dict[str, Figure]:
    """All figures that the rows allow, by name: `<data set>-accuracy-<cost>` and `<data set>-batch-size`.

    A data set whose models have several metrics has figures for each: `<data set>-<metric>-accuracy-<cost>`.

    Args:
        frame: the tidy table.
    """
    summary = summarize(frame)
    colors = model_colors(list(set(summary['model'])))
    figures = {}
    metrics = summary.groupby('dataset')['metric'].nunique()
    for (dataset, metric), rows in summary.groupby(TASK, sort=False):
        name_of_task = dataset if metrics[dataset] == 1 else f'{dataset}-{metric}'
        on_gpu = rows['peak_gpu_mb'].fillna(0) > 0
        gpu = on_gpu.mean() >= 0.5
        rows = rows.assign(memory=rows['peak_gpu_mb' if gpu else 'peak_rss_mb'])
        for name, (column, axis) in AGAINST.items():
            # Costs on a CPU and on a GPU cannot be compared: those of the kind that most have are shown.
            known = (rows if name == 'edges' else rows[on_gpu == gpu]).dropna(subset=[column])
            if len(known):
                label = axis.format(device='GPU' if gpu else 'process')
                figures[f'{name_of_task}-accuracy-{name}'] = _accuracy_against(known, column, label, colors)
        families = batch_families(rows)
        if families:
            figures[f'{name_of_task}-batch-size'] = _batch_size(families, bool(gpu))
    return figures


def _accuracy_against(
    rows: pd.DataFrame, column: str, label: str, colors: dict[str, tuple[float, ...]]
) -> Figure:
    figure = Figure(figsize=(8, 5), layout='constrained')
    axes = figure.add_subplot()
    for x, row in zip(rows[column], rows.itertuples(), strict=True):
        axes.errorbar(x, row.mean, yerr=row.std, fmt='o', color=colors[row.model], capsize=3, markersize=6)
    axes.margins(0.1)
    _scale(axes, rows[column], percent=column == 'kept_share')
    few, many = rows['runs'].min(), rows['runs'].max()
    runs = run_count(many) if few == many else f'{few}–{many} runs'
    _dress(axes, label, f'test {rows["metric"].iloc[0]}' + (f', mean ± std of {runs}' if many > 1 else ''))
    axes.set_title(rows['dataset'].iloc[0])
    _name_points(axes, rows.set_index('model')[[column, 'mean']].astype(float), colors)
    return figure


def _name_points(axes: Axes, points: pd.DataFrame, colors: dict[str, tuple[float, ...]]) -> None:
    """Lists the names of points at the right of the axes from high to low, each with a line to its point.

    Args:
        axes: with their final limits.
        points: x and y of each name.
        colors: of the names.
    """
    points = points.sort_values(points.columns[1])
    heights = axes.transAxes.inverted().transform(axes.transData.transform(points))[:, 1]
    # Each name at the height of its point, or higher: one line above the name below it. What would then be
    # above the top of the axes is moved down again.
    lines = LINE * np.arange(len(points))
    heights = np.maximum.accumulate(heights - lines) + lines
    heights = np.minimum(heights, 1 - lines[::-1])
    for name, point, height in zip(points.index, points.to_numpy(), heights, strict=True):
        axes.annotate(
            name,
            point,
            xytext=(1.02, height),
            textcoords='axes fraction',
            va='center',
            fontsize=8,
            color=colors[name],
            arrowprops={'arrowstyle': '-', 'color': colors[name], 'lw': 0.5, 'relpos': (0, 0.5)},
        )


def _scale(axes: Axes, values: pd.Series, percent: bool) -> None:
    if percent:
        axes.set_xlim(0, max(110, 1.1 * values.max()))
    elif values.min() > 0 and values.max() / values.min() >= LOG_FROM:
        axes.set_xscale('log')
        axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(StrMethodFormatter('{x:g}'))
    else:
        axes.set_xlim(left=0)


def _dress(axes: Axes, x: str, y: str) -> None:
    """Labels, grid and frame."""
    axes.set(xlabel=x, ylabel=y)
    axes.grid(alpha=0.3)
    axes.spines[['top', 'right']].set_visible(False)


def batch_families(rows: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Rows of `summarize` of one data set that differ in the batch size, by the name that they share.

    A grid over `train.batch_size` with alias `batch` names its models `<model>-batch=<size>`.
    """
    known = rows.dropna(subset=['batch_size']).sort_values('batch_size')
    known['family'] = [
        re.sub(rf'-[^-=]+={row.batch_size:.0f}(?=-|$)', '', row.model) for row in known.itertuples()
    ]
    families = {name: family for name, family in known.groupby('family')}
    return {name: family for name, family in families.items() if family['batch_size'].nunique() > 1}


def _batch_size(families: dict[str, pd.DataFrame], gpu: bool) -> Figure:
    """Time, memory and accuracy against the number of seed nodes per batch."""
    figure = Figure(figsize=(11, 3.6), layout='constrained')
    columns = {
        'seconds_per_epoch': 'time per epoch [s]',
        'memory': f'{"GPU" if gpu else "process"} memory, peak of training [MB]',
        'mean': 'test metric',
    }
    colors = model_colors(list(families))
    for axes, (column, label) in zip(figure.subplots(1, 3), columns.items(), strict=True):
        for name, rows in families.items():
            style = {'marker': 'o', 'color': colors[name], 'label': name, 'capsize': 3}
            axes.errorbar('batch_size', column, yerr='std' if column == 'mean' else None, data=rows, **style)
        axes.set_xscale('log', base=2)
        _dress(axes, 'seed nodes per batch', label)
    axes.legend(frameon=False)
    return figure


def write_figures(frame: pd.DataFrame, folder: Path, text: str) -> list[Path]:
    """Writes every figure as PNG, and all with the table into TensorBoard events, in place of older ones.

    Args:
        frame: the tidy table.
        folder: of the figures; made if absent.
        text: the table in Markdown.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob('events.out.tfevents.*'):
        old.unlink(missing_ok=True)  # another shard may end at the same moment
    paths = []
    with SummaryWriter(str(folder)) as board:
        board.add_text('table', text)
        for name, figure in make_figures(frame).items():
            path = folder / f'{name}.png'
            with written(path) as temporary:
                figure.savefig(temporary, dpi=150)
            board.add_figure(name, figure)
            paths.append(path)
    return paths
