"""The campaign itself: what it records, that it goes on where it stopped, and what it tells at its end."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import runs

from faults import campaign, cases, oracle
from graphgps_ext.provenance import git_revision

RECORDS: list[dict[str, Any]] = [
    {'case': 'scores/swapped layers:0', 'outcome': oracle.ERROR, 'revision': 'abc', 'seconds': 1.0},
    {'case': 'scores/swapped layers:1', 'outcome': oracle.WRONG, 'revision': 'abc', 'seconds': 1.0},
    {'case': 'graphs/the same data:0', 'outcome': oracle.EQUAL, 'revision': 'abc', 'seconds': 1.0},
    {'case': 'kills/stage 1:0', 'outcome': oracle.EQUAL, 'revision': 'abc', 'seconds': 1.0},
]


def carried_out(case: str, made: Path) -> int:
    """In place of a case: known ends, and a mark for each that was carried out."""
    with (made.parent / 'log').open('a') as log:
        log.write(f'{case}\n')
    number = int(case.rpartition(':')[2])
    if number == 1:
        os.abort()
    kind = {0: oracle.EQUAL, 2: oracle.WRONG}[number]
    print(f'{case}: a fault')
    Path(cases.TOLD).write_text(json.dumps({'told': 'a fault', 'kind': kind, 'said': 'so it was'}))
    return 0


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A campaign's folder, in which cases end as :func:`carried_out` says."""
    (tmp_path / 'world').mkdir()
    (tmp_path / 'world' / 'made').write_text(git_revision() or 'unknown')
    monkeypatch.setattr(cases, 'carry_out', carried_out)
    return tmp_path


def test_what_was_done_is_not_done_again(folder: Path) -> None:
    chosen = [f'scores/no store:{number}' for number in range(3)]

    def outcomes(names: list[str], revision: str) -> dict[str, str]:
        return {r['case']: r['outcome'] for r in campaign.run_cases(names, folder, revision=revision)}

    first = outcomes(chosen[:2], 'one')
    assert first == {chosen[0]: oracle.EQUAL, chosen[1]: oracle.TRACE}
    with (folder / 'cases.jsonl').open('a') as file:
        file.write('{"case": "half')  # a kill
    assert outcomes(chosen, 'one') == {**first, chosen[2]: oracle.WRONG}
    assert sorted((folder / 'log').read_text().splitlines()) == chosen  # two of them at a time
    outcomes(chosen[:1], 'two')  # of other code
    assert (folder / 'log').read_text().count(chosen[0]) == 2
    kept = [campaign.place_of(folder, case).is_dir() for case in chosen]
    assert kept == [False, True, True]


def test_the_table_counts_by_kind_and_outcome(tmp_path: Path) -> None:
    frame = campaign.table(RECORDS)
    assert (
        frame.loc['scores'].to_dict() | {'cases': 2, oracle.ERROR: 1, oracle.WRONG: 1}
        == frame.loc['scores'].to_dict()
    )
    assert frame.loc['all', 'cases'] == 4 and list(frame.index) == ['scores', 'graphs', 'kills', 'all']
    assert [record['case'] for record in campaign.bad(RECORDS)] == ['scores/swapped layers:1']
    page = tmp_path / 'page.md'
    page.write_text('# Page\n\n<!-- campaign -->\nold\n<!-- /campaign -->\n\nEnd.\n')
    campaign.write_block(page, campaign.markdown(RECORDS, 0, 1.0))
    text = page.read_text()
    assert 'old' not in text and '| scores | 2 | 0 | 1 | 1 |' in text and text.endswith('\n\nEnd.\n')
    assert '3 faults and 1 kills, seed 0, revision `abc`' in text
    page.write_text('no marks')
    with pytest.raises(ValueError, match='needs one line'):
        campaign.write_block(page, '')


def test_the_command_tells_the_end(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    script = runs.load_script('fault_campaign')
    words = ['fault_campaign.py', '--out', str(folder), '--case']
    for case, status in (('scores/no store:0', 0), ('scores/no store:2', 1)):
        monkeypatch.setattr('sys.argv', [*words, case])
        assert script.main() == status
    told = capsys.readouterr().out
    assert 'WRONG NUMBER: scores/no store:2: a fault\n    so it was' in told


def test_the_page_has_a_place_for_the_figures(tmp_path: Path) -> None:
    page = tmp_path / 'reliability.md'
    shutil.copyfile(runs.REPOSITORY / 'docs' / 'reliability.md', page)
    campaign.write_block(page, 'figures\n')
    assert '<!-- campaign -->\nfigures\n<!-- /campaign -->' in page.read_text()
