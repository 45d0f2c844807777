"""All measures of a set of runs, as one tidy table each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pandas as pd

from graphgps_ext.analysis.compare import compare_widths
from graphgps_ext.analysis.concentration import entropy, topk_coverage
from graphgps_ext.analysis.distances import layer_agreement
from graphgps_ext.analysis.edge_types import ALL_EDGES, edge_sets, mass_by_edge_type
from graphgps_ext.analysis.kept_mass import kept_mass, sampled_kept_mass
from graphgps_ext.analysis.runs import Run
from graphgps_ext.analysis.tables import named

# What the table of runs tells of a manifest.
_ABOUT = 'dataset split num_nodes num_edges num_layers epoch temperature metric metric_value'.split()


@dataclass(frozen=True)
class Measures:
    """Tidy tables; each has the columns `network`, `width`, `expander` and `run`, most of them `layer`.

    Args:
        runs: a row per run: what its manifest says.
        entropy: :func:`entropy`, with a column `edges` (all, or without expander edges).
        coverage: :func:`topk_coverage`, with a column `edges`.
        layers: :func:`layer_agreement`; empty if there is one layer.
        edge_types: :func:`mass_by_edge_type`.
        kept: :func:`kept_mass`.
        sampled: :func:`sampled_kept_mass`.
        distances: :func:`compare_widths`.
    """

    runs: pd.DataFrame
    entropy: pd.DataFrame
    coverage: pd.DataFrame
    layers: pd.DataFrame
    edge_types: pd.DataFrame
    kept: pd.DataFrame
    sampled: pd.DataFrame
    distances: pd.DataFrame

    def shown_networks(self) -> list[str]:
        """The networks drawn where all would be too many: narrowest and widest, with and without expander."""
        shown: list[str] = []
        for _, group in self.runs.groupby('expander', sort=False):
            by_width = group.sort_values('width', kind='stable')['network'].tolist()
            shown += dict.fromkeys([by_width[0], by_width[-1]])
        return shown

    def distance_panels(self) -> dict[str, pd.DataFrame]:
        """The distances apart by how the networks were trained and which edges are looked at, in words."""
        panels = {}
        for (expander, edges), rows in self.distances.groupby(['expander', 'edges'], sort=False):
            title = 'trained with expander' if expander else 'trained without expander'
            title += '' if edges == ALL_EDGES else ', its edges left out'
            panels[title] = rows.drop(columns=['expander', 'edges'])
        return panels


def measure(
    runs: Sequence[Run],
    *,
    reference: int | None = None,
    block_edges: int | None = None,
    progress: Callable[[str], None] = lambda text: None,
) -> Measures:
    """Everything that :mod:`graphgps_ext.analysis` measures of these runs.

    Args:
        runs: of :func:`find_runs`.
        reference: width that the others are compared with; default the largest.
        block_edges: edges in memory at a time.
        progress: told what comes next.

    Raises:
        ValueError: if a store is damaged, or the runs do not fit each other.
    """
    tables: dict[str, list[pd.DataFrame]] = {}
    for run in runs:
        progress(f'{run.network}, run {run.name}')
        names = {'network': run.network, 'width': run.width, 'expander': run.expander, 'run': run.name}
        for name, frame in _of_run(run, block_edges).items():
            tables.setdefault(name, []).append(named(frame, **names))
    progress('distances between networks')
    tables['distances'] = [compare_widths(runs, reference=reference, block_edges=block_edges)]
    return Measures(**{name: pd.concat(frames, ignore_index=True) for name, frames in tables.items()})


def _of_run(run: Run, block_edges: int | None) -> dict[str, pd.DataFrame]:
    about = {name: getattr(run.manifest, name) for name in _ABOUT}
    scores = run.load()
    entropies, coverages = [], []
    for edges, drop_types in edge_sets(scores).items():
        found = entropy(scores, drop_types=drop_types, block_edges=block_edges)
        entropies.append(named(found, edges=edges))
        found = topk_coverage(scores, drop_types=drop_types, block_edges=block_edges)
        coverages.append(named(found, edges=edges))
    several = len(scores.layers) > 1
    return {
        'runs': pd.DataFrame([about | {'path': str(run.path)}]),
        'entropy': pd.concat(entropies),
        'coverage': pd.concat(coverages),
        'layers': layer_agreement(scores, block_edges=block_edges) if several else pd.DataFrame(),
        'edge_types': mass_by_edge_type(scores, block_edges=block_edges),
        'kept': kept_mass(scores, block_edges=block_edges),
        'sampled': sampled_kept_mass(scores, block_edges=block_edges),
    }
