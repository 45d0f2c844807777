"""From the tidy tables of runs to what a figure or a sentence shows: means with intervals over runs."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from graphgps_ext.analysis.compare import ALL_EDGES
from graphgps_ext.analysis.measure import Measures
from graphgps_ext.analysis.spread import over_runs


def shown_networks(measures: Measures) -> list[str]:
    """The networks drawn where all would be too many: narrowest and widest, with and without expander."""
    shown: list[str] = []
    for _, group in measures.runs.groupby('expander', sort=False):
        by_width = group.sort_values('width', kind='stable')['network'].tolist()
        shown += dict.fromkeys([by_width[0], by_width[-1]])
    return shown


def over_layers(frame: pd.DataFrame, value: str = 'mean') -> pd.DataFrame:
    """Means with intervals over runs of what is first averaged over the layers of each run."""
    names = [c for c in frame.columns[: list(frame.columns).index('nodes')] if c != 'layer']
    averaged = frame.groupby(names, sort=False, as_index=False, dropna=False)[[value]].mean()
    averaged.insert(len(names), 'nodes', 0)
    return over_runs(averaged, value)


def select(frame: pd.DataFrame, **wanted: object) -> pd.DataFrame:
    """The rows in which each column named has the value wanted, or one of those in a list."""
    for column, value in wanted.items():
        values = value if isinstance(value, list) else [value]
        frame = frame[frame[column].isin(values)]
    return frame


def entropies(measures: Measures, measure: str, networks: Sequence[str]) -> pd.DataFrame:
    """Entropy of all edges per network and layer, with intervals over runs."""
    rows = select(measures.entropy, measure=measure, network=list(networks), edges=ALL_EDGES)
    return over_runs(rows)


def distance_panels(measures: Measures) -> dict[str, pd.DataFrame]:
    """The table of distances, apart by how the networks were trained and which edges are looked at."""
    panels = {}
    for (expander, edges), rows in measures.distances.groupby(['expander', 'edges'], sort=False):
        title = 'trained with expander' if expander else 'trained without expander'
        if edges != ALL_EDGES:
            title += ', its edges left out'
        panels[title] = rows.drop(columns=['expander', 'edges'])
    return panels
