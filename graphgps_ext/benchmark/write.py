"""All result files of a benchmark, made from its run folders."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from graphgps_ext.benchmark.collect import collect
from graphgps_ext.benchmark.compare import several_versions
from graphgps_ext.benchmark.figures import write_figures
from graphgps_ext.benchmark.table import latex, markdown
from graphgps_ext.benchmark.tidy import read_csv, write_csv, write_parquet
from graphgps_ext.errors import DataError
from graphgps_ext.files import written

CSV = 'results.csv'


def check_older(out: Path) -> None:
    """Refuses, before anything runs, a `results.csv` to which rows cannot be added.

    Raises:
        DataError: naming the columns that it lacks, or if it is damaged.
    """
    if os.path.lexists(out / CSV):
        if not (out / CSV).is_file():
            raise DataError(f'{out / CSV} is no file: move it away; nothing was changed')
        read_csv(out / CSV)


def write_results(places: Sequence[Path], out: Path) -> tuple[str, list[str]]:
    """Writes `results.csv`, `results.parquet`, `table.md`, `table.tex` and `figures/` into `out`.

    Rows that a `results.csv` there has and the places do not are kept.

    Args:
        places: folders with runs, and CSV files.
        out: the folder of the benchmark.

    Returns:
        The tables in Markdown, and what a user should know.

    Raises:
        DataError: if there is no finished run.
    """
    check_older(out)
    older = [out / CSV] if (out / CSV).is_file() else []
    frame, notes = collect([*older, *places])
    notes += several_versions(frame)
    if not len(frame):
        said = ''.join(f'\n  {note}' for note in notes)
        raise DataError(
            f'no results to tabulate in {", ".join(map(str, places))}: no run there is finished{said}'
        )
    write_csv(frame, out / CSV)
    if note := write_parquet(frame, out / 'results.parquet'):
        notes.append(note)
    page = markdown(frame, out.resolve().name)
    for name, text in (('table.md', page), ('table.tex', latex(frame, out.resolve().name))):
        with written(out / name) as temporary:
            temporary.write_text(text, encoding='utf-8')
    write_figures(frame, out / 'figures', page)
    return page, notes
