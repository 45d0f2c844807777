"""What the attention looks at: from scores to a report with figures.

    graphgps-ext analyze results/actor-estimator            a run, a folder of runs, or a score store
    graphgps-ext analyze --widths 4,8,16,32,64 --seeds 5 --cfg Spexphormer/actor-estimator
                                                             trains the family, then compares
    graphgps-ext analyze results/tolokers-estimator --suggest-degrees 0.8

The report goes to analysis/ within the folder analysed, or to --out DIR: report.md, a figure and a tidy CSV
for each measure, and the same figures for TensorBoard. A family is trained with and without expander edges,
one process after the other; what is finished is skipped, so a stopped command goes on where it was. Config
keys and values may follow the options (dataset.dir DIR ...).
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence

import pandas as pd
import torch

from graphgps_ext.analysis import Run, find_runs, measure, suggest_degrees, write_report
from graphgps_ext.analysis.tables import named
from graphgps_ext.commands.family import family_runs, train_family
from graphgps_ext.config.paths import user_path
from graphgps_ext.config.shipped import find_config
from graphgps_ext.provenance import describe
from graphgps_ext.transform import kept_share


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line; `folder` is None where a family is to be trained."""
    parser = argparse.ArgumentParser(
        prog='graphgps-ext analyze',
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        usage=argparse.SUPPRESS,
    )
    parser.add_argument('--out', type=user_path, help='folder of the report, replaced whole')
    parser.add_argument('--reference', type=int, help='width compared with; default the largest')
    parser.add_argument('--suggest-degrees', type=float, metavar='SHARE', help='degrees that keep this share')
    parser.add_argument('--widths', help='train networks of these widths, such as 4,8,16,32,64')
    parser.add_argument(
        '--seeds', type=int, default=5, help='number of seeds of each network (with --widths)'
    )
    parser.add_argument('--cfg', help='config of stage 1 (with --widths)')
    parser.add_argument(
        '--runs', type=user_path, help='folder of the family; default results/<config name>-widths'
    )
    parser.add_argument('rest', nargs='*', help='the folder to analyse; or, with --widths, keys and values')
    arguments = parser.parse_intermixed_args(argv)
    given = [name for name in ('cfg', 'runs') if getattr(arguments, name) is not None]
    if arguments.widths is None:
        if given:
            parser.error(f'--{given[0]} trains a family of networks: it needs --widths')
        if len(arguments.rest) != 1:
            parser.error(f'one folder is needed, or --widths and --cfg, got {arguments.rest or "nothing"}')
    elif arguments.cfg is None:
        parser.error('--widths needs --cfg, the config of stage 1')
    if arguments.suggest_degrees is not None and not 0 < arguments.suggest_degrees < 1:
        parser.error(f'--suggest-degrees needs a share between 0 and 1, got {arguments.suggest_degrees}')
    return arguments


def suggestions(runs: list[Run], share: float) -> pd.DataFrame:
    """Prints and returns the degrees that keep a share of the attention mass, for each run."""
    tables = []
    for run in runs:
        scores = run.load()
        table = suggest_degrees(scores, share)
        degrees = [int(k) for k in table['degree']]
        edges = kept_share(scores.graph, degrees)
        kept = ', '.join(f'{row.sampled:.3f} ± {row.error:.3f}' for row in table.itertuples())
        print(f'{run.network}, run {run.name}: spex.layer_degrees "{degrees}" keeps {kept} of the attention')
        of_edges = f'{edges:.1f} % of the edges'
        print(f'    mass (mean ± standard error of draws, per layer) and {of_edges}', flush=True)
        tables.append(named(table, network=run.network, run=run.name))
    return pd.concat(tables, ignore_index=True)


def main(argv: Sequence[str] | None = None) -> None:
    """Trains if asked to, measures, writes."""
    argv = sys.argv[1:] if argv is None else argv
    arguments = parse(argv)
    if arguments.widths is None:
        folder = user_path(arguments.rest[0])
        runs = find_runs(folder)
        base = folder.parent if folder.name == 'scores' else folder
    else:
        arguments.cfg = find_config(arguments.cfg)
        base = train_family(arguments)
        runs = family_runs(arguments, base)
    out = arguments.out or base / 'analysis'
    print(f'{len(runs)} runs of {runs[0].manifest.dataset}', flush=True)
    share = arguments.suggest_degrees
    extra = None if share is None else suggestions(runs, share)
    measures = measure(
        runs, reference=arguments.reference, progress=lambda text: print(f'  {text}', flush=True)
    )
    machine = describe(torch.device('cpu'))
    notes = [f'Command: `graphgps-ext analyze {shlex.join(argv)}`', f'Machine: {machine}']
    print(f'report: {write_report(out, measures, notes=notes, extra=extra)}')
