"""Networks of several widths and seeds against a reference width and against baselines."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from graphgps_ext.analysis.distances import BASELINES, network_distance
from graphgps_ext.analysis.edge_types import edge_sets
from graphgps_ext.analysis.runs import Run, networks
from graphgps_ext.analysis.tables import named
from graphgps_ext.errors import DataError
from graphgps_ext.scores import AttentionScores


def compare_widths(
    runs: Sequence[Run], *, reference: int | None = None, block_edges: int | None = None
) -> pd.DataFrame:
    """Distances of each network and of the baselines to the network of the reference width.

    Networks trained with the expander are compared with the reference trained with it, those trained without
    with the one without. Run i of a network is compared with run i + 1 of the reference (the last with the
    first), so the reference width compared with itself shows the distance between two seeds; with a single
    run this comparison is left out. A baseline is compared with every run of the reference. Where there are
    expander edges, all is computed once more on the other edges, each row divided by its sum.

    Args:
        runs: of :func:`~graphgps_ext.analysis.find_runs`.
        reference: width; default the largest.
        block_edges: edges in memory at a time.

    Returns:
        Tidy: expander (trained with it), edges (`all`, `without expander edges`), network (`width 4`,
        `uniform`, `random`), width (0 for baselines), layer, measure, run, reference_run, then over nodes:
        nodes, mean, std, q10, median, q90.

    Raises:
        ValueError: if there is no network of the reference width, if networks have other seeds or splits than
            the reference, or other attention edges.
    """
    reference = max(run.width for run in runs) if reference is None else reference
    frames: list[pd.DataFrame] = []
    for expander in sorted({run.expander for run in runs}, reverse=True):
        groups = networks([run for run in runs if run.expander == expander])
        of_width = {group[0].width: group for group in groups.values()}
        if reference not in of_width:
            raise DataError(
                f'there is no network of the reference width {reference} {"with" if expander else "without"} '
                f'expander, only of width {", ".join(map(str, sorted(of_width)))} (--widths, --reference)'
            )
        chosen = of_width[reference]
        for group in of_width.values():
            _refuse_other_runs(group, chosen)
        for group in of_width.values():
            for i, run in enumerate(group):
                other = chosen[(i + 1) % len(chosen)]
                counted = group is chosen and len(chosen) == 2 and i == 1  # the same pair once more
                if other is not run and not counted:
                    frames += _distances(run, other, block_edges)
        for baseline in BASELINES:
            for run in chosen:
                frames += _distances(baseline, run, block_edges)
    return pd.concat(frames, ignore_index=True)


def _refuse_other_runs(group: list[Run], reference: list[Run]) -> None:
    ours, theirs = ([run.name for run in runs] for runs in (group, reference))
    if ours != theirs:
        raise DataError(
            f'{group[0].network} has the runs (seeds) {"; ".join(ours)}, but {reference[0].network} has '
            f'{"; ".join(theirs)}: train the missing ones (--widths, --seeds)'
        )


def _distances(run: Run | str, reference: Run, block_edges: int | None) -> list[pd.DataFrame]:
    """Of a run, or a baseline, to a run of the reference: a table for each set of edges."""
    theirs = reference.load()
    pair: tuple[AttentionScores, AttentionScores | str]
    if isinstance(run, str):
        pair, names = (theirs, run), {'network': run, 'width': 0, 'run': reference.name}
    else:
        pair = run.load(), theirs
        names = {'network': f'width {run.width}', 'width': run.width, 'run': run.name}
    frames = []
    for edges, drop_types in edge_sets(theirs).items():
        seed = reference.manifest.seed
        frame = network_distance(*pair, seed=seed, drop_types=drop_types, block_edges=block_edges)
        kind = {'expander': reference.expander, 'edges': edges}
        frames.append(named(frame, **kind, **names, reference_run=reference.name))
    return frames
