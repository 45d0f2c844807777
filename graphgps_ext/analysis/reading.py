"""One sentence per figure and network, made from the numbers: what they say, not what one would expect.

Two quantities are called different where the 95 % interval of their difference, run by run, does not hold
zero. With a single run there is no interval, and the sign alone is reported.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import pandas as pd

from graphgps_ext.analysis.distances import BASELINES
from graphgps_ext.analysis.edge_types import ALL_EDGES
from graphgps_ext.analysis.kept_mass import ROUNDING
from graphgps_ext.analysis.measure import Measures
from graphgps_ext.analysis.tables import confidence_interval, select

_UNIFORM = 0.95  # of log(degree): from here on attention is called almost uniform
_KEPT = 0.8
_ALIKE = 'not told apart from'
_DISTANCES = {'energy': 'energy distance', 'total_variation': 'total variation'}


def interval_text(mean: float, low: float, high: float) -> str:
    """`mean [low, high]`; the mean alone where there is no interval."""
    if math.isnan(mean):
        return '–'
    return f'{mean:.3f}' if math.isnan(low) else f'{mean:.3f} [{low:.3f}, {high:.3f}]'


def is_below(first: pd.Series, second: pd.Series) -> bool | None:
    """Whether the first is smaller in the mean over runs; None if the interval of the difference holds zero.

    Args:
        first: a value per run, indexed by run.
        second: the same.
    """
    mean, low, high = confidence_interval((first - second).tolist())
    if math.isnan(low):
        low = high = mean
    return True if high < 0 else False if low > 0 else None


def _relation(first: pd.Series, second: pd.Series, below: str, above: str) -> str:
    return {True: below, False: above, None: _ALIKE}[is_below(first, second)]


def _by_relation(pairs: Mapping[str, tuple[pd.Series, pd.Series]], *words: str) -> dict[str, list[str]]:
    """The names of pairs, grouped by the relation of the two in the words for below and above."""
    groups: dict[str, list[str]] = {word: [] for word in (*words, _ALIKE)}
    for name, (first, second) in pairs.items():
        groups[_relation(first, second, *words)].append(name)
    return {word: names for word, names in groups.items() if names}


def _text(values: pd.Series) -> str:
    return interval_text(*confidence_interval(values.tolist()))


def _per_run(rows: pd.DataFrame, value: str = 'mean', run: str = 'run') -> pd.Series:
    """A value per run, averaged over all other columns."""
    return rows.groupby(run, sort=False)[value].mean()


def read_entropy(measures: Measures) -> list[str]:
    """How uniform each layer is, and whether the deeper ones are sharper than the first."""
    lines = []
    for network in measures.shown_networks():
        rows = select(measures.entropy, network=network, measure='relative_entropy', edges=ALL_EDGES)
        layers = {int(layer): _per_run(values) for layer, values in rows.groupby('layer')}
        text = ', '.join(f'{_text(values)} in layer {layer}' for layer, values in layers.items())
        flat = ', '.join(str(layer) for layer, values in layers.items() if values.mean() >= _UNIFORM)
        says = [f'almost uniform (≥ {_UNIFORM:g}) in layer {flat}' if flat else 'almost uniform nowhere']
        pairs = {str(layer): (values, layers[0]) for layer, values in layers.items() if layer}
        for words, names in _by_relation(pairs, 'sharper than', 'more uniform than').items():
            says.append(f'layer {", ".join(names)} {words} layer 0')
        lines.append(f'{network}: entropy relative to log(degree) is {text}: {"; ".join(says)}.')
    return lines


def read_layers(measures: Measures) -> list[str]:
    """Whether the first layer differs from the rest more than these among each other."""
    if measures.layers.empty:
        return ['The scores have one layer: there is nothing to compare it with.']
    lines = []
    for network in measures.shown_networks():
        text = []
        for name, words in (*_DISTANCES.items(), ('spearman', 'rank correlation')):
            rows = select(measures.layers, network=network, measure=name)
            first, rest = _per_run(rows[rows['layer'] == 0]), _per_run(rows[rows['layer'] > 0])
            if rest.empty:
                text.append(f'{words} {_text(first)}')
                continue
            verdict = _relation(first, rest, 'below', 'above')
            text.append(f'{words} {_text(first)}, {verdict} the {_text(rest)} of the others among themselves')
        lines.append(f'{network}, layer 0 against the other layers: {"; ".join(text)}.')
    return lines


def read_coverage(measures: Measures, k: int = 4) -> list[str]:
    """How much of the mass the k largest weights of a node hold."""
    rows = select(measures.coverage, edges=ALL_EDGES, kind='count', k=k)
    rows = rows[rows['nodes_above'] > 0]
    if rows.empty:
        return [f'No node has more than {k} in-neighbours.']
    lines = []
    for network in measures.shown_networks():
        here = select(rows, network=network)
        mean, covered = _per_run(here, 'mean_above'), _per_run(here, 'covered_above')
        lines.append(
            f'{network}: of nodes with more than {k} in-neighbours the {k} largest scores hold {_text(mean)} '
            f'of the mass on average over layers, and at least 90 % of it in a share of {_text(covered)} of '
            f'these nodes.'
        )
    return lines


def read_edge_types(measures: Measures) -> list[str]:
    """Which edge types get more than their share of the edges."""
    lines = []
    for network in measures.shown_networks():
        text = []
        for name, rows in select(measures.edge_types, network=network).groupby('name', sort=False):
            mass, share = _per_run(rows), _per_run(rows, 'edge_share')
            words = _relation(mass, share, 'less than', 'more than')
            text.append(f'{name} {_text(mass)}, {words} their share of the edges, {share.mean():.3f}')
        lines.append(f'{network}, attention mass averaged over layers: {"; ".join(text)}.')
    return lines


def read_kept(measures: Measures) -> list[str]:
    """The least K of the table whose draws keep 80 % of the mass, and the error of the rate equation."""
    keys = ['network', 'run', 'layer', 'degree']
    both = measures.kept.merge(measures.sampled, on=keys, suffixes=('', '_drawn'))
    lines = []
    for network in measures.shown_networks():
        rows = select(both, network=network)
        least = []
        for layer, line in rows.groupby('layer'):
            mass = line.groupby('degree')['mean_drawn'].mean()
            enough = mass[mass >= _KEPT - ROUNDING]
            least.append(f'{enough.index.min() if len(enough) else "none"} in layer {layer}')
        error = (rows['mean'] - rows['mean_drawn']).abs().max()
        lines.append(
            f'{network}: the smallest power of two that keeps {_KEPT:.0%} of the mass is K = '
            f'{", ".join(least)}; rate equation and draws differ by at most {error:.4f}.'
        )
    return lines


def read_distances(measures: Measures) -> list[str]:
    """Whether networks are closer to the reference than the baselines are."""
    lines = []
    for title, rows in measures.distance_panels().items():
        for name, words in _DISTANCES.items():
            table = {
                str(network): _per_run(values, run='reference_run')
                for network, values in select(rows, measure=name).groupby('network', sort=False)
            }
            baselines = {baseline: table.pop(baseline) for baseline in BASELINES}
            text = ', '.join(f'{baseline} {_text(values)}' for baseline, values in baselines.items())
            head = f'{title.capitalize()}, {words} averaged over layers'
            said: dict[str, list[str]] = {}
            for network, values in table.items():
                pairs = {baseline: (values, far) for baseline, far in baselines.items()}
                groups = _by_relation(pairs, 'closer than', 'further than').items()
                verdict = ', '.join(f'{relation} {" and ".join(names)}' for relation, names in groups)
                said.setdefault(verdict, []).append(f'{network} {_text(values)}')
            found = [f'{verdict}: {", ".join(names)}' for verdict, names in said.items()]
            lines.append(f'{head}: {"; ".join([text, *found])}.')
    return lines
