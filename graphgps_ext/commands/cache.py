"""The attention graphs of large data sets that are kept on this machine.

    graphgps-ext cache                  lists them, the last used one first
    graphgps-ext cache --clear          deletes them
    graphgps-ext cache --dir DIR        those in another folder (key prep.cache_dir)

They are built again when a run needs them; a run that uses one while it is deleted goes on with it.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from datetime import datetime

from tabulate import tabulate

from graphgps_ext.config.paths import user_path
from graphgps_ext.files import cache_folder, delete
from graphgps_ext.loader.graph_store import graphs


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog='graphgps-ext cache', description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--dir', type=user_path, default=cache_folder() / 'graphs', help='the folder')
    parser.add_argument('--clear', action='store_true', help='delete them')
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    """Lists or deletes what is there."""
    args = parse(argv)
    found = graphs(args.dir)
    total = f'{len(found)} attention graph{"" if len(found) == 1 else "s"}, '
    total += f'{sum(graph.num_bytes for graph in found) / 1e9:.2f} GB in {args.dir}'
    if args.clear:
        for graph in found:
            delete(graph.folder)
        print(f'deleted {total}')
        return
    rows = [
        (
            graph.name or 'damaged',
            f'{graph.num_bytes / 1e9:.2f}',
            f'{datetime.fromtimestamp(graph.used):%F %H:%M}',
        )
        for graph in found
    ]
    if rows:
        print(tabulate(rows, headers=('data set', 'GB', 'last used'), disable_numparse=True), end='\n\n')
    print(total)
