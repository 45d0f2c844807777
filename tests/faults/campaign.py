"""Many cases side by side, taken up where they were left, and the table of what became of them."""

from __future__ import annotations

import json
import re
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from faults import cases, world
from faults.oracle import BAD, GOOD, Outcome, of_process
from faults.processes import LIMIT_SECONDS, side_by_side
from graphgps_ext.files import written
from graphgps_ext.provenance import git_revision

KILLS = 'kills'
# Of 100 kills; each one of the last two starts processes anew, for seconds.
SHARES = {'stage 1': 40, 'stage 2': 40, 'benchmark': 12, 'tune': 8}
KILL_SECONDS = 5 * LIMIT_SECONDS  # several commands, each with a limit of its own
BLOCK = re.compile(r'(<!-- campaign -->\n).*?(<!-- /campaign -->)', re.DOTALL)


def chosen_cases(count: int, kills: int, seed: int, only: str = '') -> list[str]:
    """Cases `<kind>/<name>:<seed>`, all kinds and names alike, in an order drawn by the seed.

    Args:
        count: of faults.
        kills: of kills.
        seed: of the campaign; others have other cases.
        only: a kind, or a kind and a name; empty: all.
    """
    names = [name for kind in cases.KINDS for name in cases.names(kind) if _is_of(name, only)]
    draw = np.random.default_rng(seed)
    order = list(draw.permutation(names)) if names else []
    numbers = range(count if order else 0)
    found = [f'{order[i % len(order)]}:{seed * 100_000 + i // len(order)}' for i in numbers]
    kinds = [name for name in SHARES if _is_of(f'{KILLS}/{name}', only)]
    wanted = np.array([SHARES[name] for name in kinds], float)
    for name, share in zip(kinds, kills * wanted / max(1, wanted.sum()), strict=True):
        found += [f'{KILLS}/{name}:{seed * 100_000 + i}' for i in range(round(share))]
    return [str(case) for case in draw.permutation(found)]


def _is_of(name: str, only: str) -> bool:
    return not only or name == only or name.startswith(f'{only}/')


def run_cases(
    chosen: Sequence[str], folder: Path, *, jobs: int = 2, revision: str = ''
) -> Iterator[dict[str, Any]]:
    """Carries cases out, and yields the record of each, also those of an earlier call.

    Args:
        chosen: the cases.
        folder: where the world, the records (`cases.jsonl`) and the places of bad cases are kept.
        jobs: cases side by side.
        revision: of the code; records of another one are not taken up. Empty: that of the checkout.
    """
    revision = revision or git_revision() or 'unknown'
    records = folder / 'cases.jsonl'
    made = (folder / 'world').absolute()
    world.build(made, jobs=jobs)
    known = {r['case']: r for r in read_records(records) if r['revision'] == revision}
    yield from (known[case] for case in chosen if case in known)
    calls = (
        (case, partial(cases.carry_out, case, made), _new_place(folder, case), _limit(case))
        for case in chosen
        if case not in known
    )
    for case, code, output, seconds in side_by_side(calls, jobs=jobs):
        place = place_of(folder, case)
        outcome = of_process(code, output, place)
        told = next((line for line in output.splitlines() if line.startswith(f'{case}: ')), '')
        told = told.removeprefix(f'{case}: ')
        if outcome is None:
            content = json.loads((place / cases.TOLD).read_text())
            told, outcome = content.pop('told'), Outcome(**content)
        record = {
            'case': case,
            'outcome': outcome.kind,
            'told': told,
            'said': outcome.said[-3000:],
            'seconds': round(seconds, 2),
            'revision': revision,
        }
        with records.open('a', encoding='utf-8') as file:
            file.write(json.dumps(record) + '\n')
        if outcome.kind in GOOD:
            shutil.rmtree(place.parents[1], ignore_errors=True)
        yield record


def _limit(case: str) -> float:
    return KILL_SECONDS if case.startswith(f'{KILLS}/') else LIMIT_SECONDS


def place_of(folder: Path, case: str) -> Path:
    """Where a case happens: kept if it ends badly."""
    return (folder / 'places' / re.sub(r'\W+', '-', case) / cases.WORK).absolute()


def _new_place(folder: Path, case: str) -> Path:
    place = place_of(folder, case)
    shutil.rmtree(place.parents[1], ignore_errors=True)
    return place


def read_records(path: Path) -> list[dict[str, Any]]:
    """The records of earlier calls; a last line cut short by a kill is dropped."""
    if not path.is_file():
        return []
    found = []
    for line in path.read_text(encoding='utf-8').splitlines():
        try:
            found.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return found


def table(records: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Number of cases by kind (rows; the last one is their sum) and outcome (columns)."""
    counts = Counter((r['case'].partition('/')[0], r['outcome']) for r in records)
    kinds = [kind for kind in (*cases.KINDS, KILLS) if any(k == kind for k, _ in counts)]
    rows = [[counts[kind, outcome] for outcome in (*GOOD, *BAD)] for kind in kinds]
    frame = pd.DataFrame(rows, kinds, [*GOOD, *BAD], dtype=int)
    frame.loc['all'] = frame.sum()
    frame.insert(0, 'cases', frame.sum(axis=1))
    return frame


def bad(records: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The cases that must not be."""
    return [record for record in records if record['outcome'] in BAD]


def markdown(records: Sequence[Mapping[str, Any]], seed: int, minutes: float) -> str:
    """The table as Markdown, with what it was made by."""
    frame = table(records)
    faults = [r for r in records if not r['case'].startswith(f'{KILLS}/')]
    lines = [
        f'{len(faults):,} faults and {len(records) - len(faults):,} kills, seed {seed}, '
        f'revision `{records[0]["revision"]}`, {minutes:.0f} minutes:',
        '',
        '| kind | ' + ' | '.join(frame.columns) + ' |',
        '|---' * (len(frame.columns) + 1) + '|',
        *('| ' + ' | '.join([str(kind), *(f'{n:,}' for n in row)]) + ' |' for kind, row in frame.iterrows()),
    ]
    return '\n'.join(lines) + '\n'


def write_block(page: Path, text: str) -> None:
    """Replaces what stands between `<!-- campaign -->` and `<!-- /campaign -->` in a page.

    Raises:
        ValueError: if the page has no such pair of lines.
    """
    content, count = BLOCK.subn(lambda marks: f'{marks[1]}{text}{marks[2]}', page.read_text(encoding='utf-8'))
    if count != 1:
        raise ValueError(f'{page} needs one line <!-- campaign --> and one <!-- /campaign --> after it')
    with written(page) as temporary:
        temporary.write_text(content, encoding='utf-8')
