"""Figures of the measures. Each takes the tidy tables of :class:`Measures` and returns a matplotlib figure.

Colours are those of Okabe and Ito, which colour-blind readers tell apart; markers and hatches tell them apart
in grey print.
"""

from __future__ import annotations

from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from graphgps_ext.analysis.distances import BASELINES
from graphgps_ext.analysis.edge_types import ALL_EDGES
from graphgps_ext.analysis.measure import Measures
from graphgps_ext.analysis.tables import over_runs, select

_COLORS = ('#0072B2', '#D55E00', '#009E73', '#CC79A7', '#E69F00', '#56B4E9', '#000000')
_MARKERS = 'osD^vP*'
_HATCHES = ('', '//', '..', 'xx', '\\\\')
_STYLE: Any = {
    'font.size': 9,
    'axes.grid': True,
    'grid.alpha': 0.3,
    'legend.frameon': False,
    'axes.axisbelow': True,
}
_PER_LAYER_MOST = 12  # layers up to which each tick is a layer


def _panels(
    columns: int, rows: int = 1, *, width: float = 3.2, height: float = 2.7
) -> tuple[Figure, np.ndarray]:
    figure = Figure(figsize=(max(4.0, width * columns), height * rows), layout='constrained', dpi=110)
    return figure, figure.subplots(rows, columns, squeeze=False)


def _line(axes: Axes, x: pd.Series, rows: pd.DataFrame, number: int, label: str, **options: Any) -> None:
    """Means with their intervals over runs, where there are several runs."""
    error = np.nan_to_num([rows['mean'] - rows['low'], rows['high'] - rows['mean']])
    style = {'color': _COLORS[number % 7], 'marker': _MARKERS[number % 7], 'markersize': 4, 'capsize': 2}
    axes.errorbar(x, rows['mean'], yerr=error, label=label, linewidth=1.3, **{**style, **options})


def _layer_axis(axes: Axes) -> None:
    axes.set_xlabel('layer (0 nearest the input)')
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=_PER_LAYER_MOST))


@matplotlib.rc_context(_STYLE)
def entropy_figure(measures: Measures) -> Figure:
    """Relative entropy and effective numbers of neighbours per layer; a line per network."""
    networks = measures.shown_networks()
    means = over_runs(select(measures.entropy, edges=ALL_EDGES))
    shown = means[means['network'].isin(networks)]
    figure, ((left, right),) = _panels(2, width=3.8)
    for i, network in enumerate(networks):
        aside = 0.04 * (i - (len(networks) - 1) / 2)  # so that intervals do not hide each other
        rows = select(shown, measure='relative_entropy', network=network)
        _line(left, rows['layer'] + aside, rows, i, network)
        for name, line in (('perplexity', '-'), ('inverse_simpson', ':')):
            rows = select(shown, measure=name, network=network)
            _line(right, rows['layer'] + aside, rows, i, network, linestyle=line)
    lowest = select(shown, measure='relative_entropy')['mean'].min()
    left.set_ylim(max(0, 1.1 * lowest - 0.15), 1.02)
    left.set_title('entropy / log(degree), 1 = uniform')
    right.set_title('effective neighbours (···: inverse Simpson)')
    right.set_ylim(0, 1.3 * select(shown, measure='perplexity')['mean'].max())
    for axes in (left, right):
        _layer_axis(axes)
    figure.legend(*left.get_legend_handles_labels(), loc='outside lower center', ncols=len(networks))
    return figure


@matplotlib.rc_context(_STYLE)
def layers_figure(measures: Measures) -> Figure:
    """Energy distance and rank correlation between layers; a column per network."""
    networks = measures.shown_networks()
    figure, panels = _panels(len(networks), 2, height=2.6)
    size = int(measures.runs['num_layers'].iloc[0])
    for row, (name, title) in enumerate((('energy', 'energy distance'), ('spearman', 'rank correlation'))):
        table = over_runs(select(measures.layers, measure=name))
        limits = (0, max(table['mean'].max(), 1e-9)) if name == 'energy' else (-1, 1)
        for column, network in enumerate(networks):
            axes = panels[row, column]
            values = np.full((size, size), np.nan)
            for pair in select(table, network=network).itertuples():
                values[pair.layer, pair.other_layer] = values[pair.other_layer, pair.layer] = pair.mean
            color = 'viridis_r' if name == 'energy' else 'RdBu_r'
            image = axes.imshow(values, cmap=color, vmin=limits[0], vmax=limits[1])
            if size <= _PER_LAYER_MOST:
                _write_cells(axes, values, image)
            axes.set(title=f'{title}\n{network}', xticks=range(size), yticks=range(size))
            axes.set(xlabel='layer', ylabel='layer')
            axes.grid(False)
    return figure


def _write_cells(axes: Axes, values: np.ndarray, image: matplotlib.image.AxesImage) -> None:
    for (i, j), value in np.ndenumerate(values):
        if not np.isnan(value):
            red, green, blue, _ = image.cmap(image.norm(value))
            dark = 0.3 * red + 0.6 * green + 0.1 * blue < 0.5
            axes.text(j, i, f'{value:.2f}', ha='center', va='center', color='white' if dark else 'black')


@matplotlib.rc_context(_STYLE)
def coverage_figure(measures: Measures) -> Figure:
    """Mass of the k largest weights of nodes with more than k in-neighbours; a panel per network.

    A k that fewer than 1 % of the nodes exceed is not drawn.
    """
    rows = select(measures.coverage, edges=ALL_EDGES, kind='count')
    rows = rows[rows['nodes_above'] >= 0.01 * rows['nodes']]
    title = 'mass of the k largest'
    return _curves(measures, over_runs(rows, 'mean_above'), 'k', title, 'k')


@matplotlib.rc_context(_STYLE)
def kept_figure(measures: Measures) -> Figure:
    """Attention mass kept by K sampled in-neighbours: rate equation (lines) and draws (crosses)."""
    label = 'K sampled in-neighbours'
    figure = _curves(measures, over_runs(measures.kept), 'degree', 'mass kept by sampling', label, marker='')
    drawn = measures.sampled.groupby(['network', 'layer', 'degree'], as_index=False)['mean'].mean()
    for axes, network in zip(figure.axes, measures.shown_networks(), strict=True):
        for layer, points in select(drawn, network=network).groupby('layer'):
            axes.plot(points['degree'], points['mean'], 'x', color=_COLORS[layer % 7], markersize=4)
    return figure


def _curves(
    measures: Measures, rows: pd.DataFrame, x: str, title: str, label: str, **options: object
) -> Figure:
    """A panel per network, a line per layer, over powers of two."""
    networks = measures.shown_networks()
    figure, panels = _panels(len(networks))
    for axes, network in zip(panels[0], networks, strict=True):
        for layer, line in select(rows, network=network).groupby('layer'):
            _line(axes, line[x], line, int(layer), f'layer {layer}', **options)
        axes.set_xscale('log', base=2)
        axes.set(title=f'{title}\n{network}', xlabel=label, ylim=(0, 1.03))
    if len(rows):
        panels[0, 0].legend(fontsize=7)
    return figure


@matplotlib.rc_context(_STYLE)
def edge_types_figure(measures: Measures) -> Figure:
    """Attention mass by edge type per layer, beside the share of these edges; a panel per network."""
    networks = measures.shown_networks()
    figure, panels = _panels(len(networks))
    mass, share = over_runs(measures.edge_types), over_runs(measures.edge_types, 'edge_share')
    types = list(dict.fromkeys(mass.sort_values('edge_type', kind='stable')['name']))  # one colour each
    for axes, network in zip(panels[0], networks, strict=True):
        rows, uniform = (select(table, network=network) for table in (mass, share))
        layers = sorted({*rows['layer']})
        bottom = np.zeros(len(layers) + 1)
        for i, name in enumerate(types):
            if name not in {*rows['name']}:
                continue
            first = select(uniform, name=name)['mean'].iloc[0]
            heights = np.array([*select(rows, name=name).sort_values('layer')['mean'], first])
            style = {'color': _COLORS[i % 7], 'hatch': _HATCHES[i % 5], 'edgecolor': 'white'}
            axes.bar(range(len(heights)), heights, bottom=bottom, label=name, **style)
            bottom += heights
        labels = [*map(str, layers), 'uniform']
        axes.set(title=f'attention mass\n{network}', xticks=range(len(labels)), ylim=(0, 1))
        axes.set_xticklabels(labels)
        axes.set_xlabel('layer')
        axes.grid(False)
    figure.legend(*panels[0, 0].get_legend_handles_labels(), loc='outside lower center', ncols=len(types))
    return figure


@matplotlib.rc_context(_STYLE)
def distances_figure(measures: Measures) -> Figure:
    """Distance to the reference width, averaged over layers, against width; baselines as horizontal lines.

    With a single width: distance between its seeds and to the baselines, layer by layer.
    """
    panels = measures.distance_panels()
    figure, axes = _panels(len(panels), 2)
    several = measures.runs['width'].nunique() > 1
    draw = _by_width if several else _by_layer
    for column, (title, rows) in enumerate(panels.items()):
        for row, (name, words) in enumerate(
            (('energy', 'energy distance'), ('total_variation', 'total variation'))
        ):
            here = select(rows, measure=name).drop(columns='reference_run')
            draw(axes[row, column], here)
            axes[row, column].set_title(f'{words}\n{title}', fontsize=8)
            highest = over_runs(here)['mean'].max()
            axes[row, column].set_ylim(0, 1.35 * highest if highest > 0 else 1)
    axes[0, 0].legend(fontsize=7)
    return figure


def _by_width(axes: Axes, rows: pd.DataFrame) -> None:
    names = ['network', 'width', 'measure', 'run']
    per_run = rows.groupby(names, sort=False, as_index=False)['mean'].mean()
    per_run.insert(len(names), 'nodes', 0)
    table = over_runs(per_run)
    trained = table[table['width'] > 0].sort_values('width')
    _line(axes, trained['width'], trained, 0, 'trained network')
    for i, name in enumerate(BASELINES, 1):
        for baseline in select(table, network=name).itertuples():
            axes.axhline(baseline.mean, color=_COLORS[i], linestyle=('--', ':')[i - 1], label=name)
            axes.axhspan(baseline.low, baseline.high, color=_COLORS[i], alpha=0.15, linewidth=0)
    axes.set_xscale('log', base=2)
    axes.set_xticks(trained['width'], [f'{w}' for w in trained['width']])
    axes.set_xlabel('width (hidden channels)')


def _by_layer(axes: Axes, rows: pd.DataFrame) -> None:
    for i, (network, line) in enumerate(over_runs(rows).groupby('network', sort=False)):
        label = network if network in BASELINES else 'another seed'
        _line(axes, line['layer'], line, i, str(label))
    _layer_axis(axes)
