"""A sample of the campaign: every kind of fault, seeds that are always the same."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path

import pytest

from faults import campaign, cases, oracle

FAULTS, KILLS = 20, 2


def test_a_sample_of_faults_and_kills_ends_well(world: Path, tmp_path: Path) -> None:
    shutil.copytree(world, tmp_path / 'world', symlinks=True)
    chosen = campaign.chosen_cases(FAULTS, 0, seed=0)
    chosen += campaign.chosen_cases(0, KILLS // 2, seed=0, only='kills/stage 1')
    chosen += campaign.chosen_cases(0, KILLS // 2, seed=0, only='kills/stage 2')
    records = list(campaign.run_cases(chosen, tmp_path))
    assert len(records) == len(chosen) == FAULTS + KILLS
    told = [f'{r["outcome"]}: {r["case"]}: {r["told"]}\n{r["said"]}' for r in campaign.bad(records)]
    assert not told, '\n\n'.join(told)
    assert {record['outcome'] for record in records} == {*oracle.GOOD}


@pytest.mark.parametrize('kind', [*cases.KINDS, campaign.KILLS])
def test_a_campaign_has_cases_of_every_kind_and_name(kind: str) -> None:
    chosen = campaign.chosen_cases(2000, 100, seed=0)
    assert len({*chosen}) == len(chosen) == 2100
    names = Counter(case.rpartition(':')[0] for case in chosen)
    assert {*cases.names(kind)} == {name for name in names if name.startswith(f'{kind}/')}
    assert chosen == campaign.chosen_cases(2000, 100, seed=0)
    assert not {*chosen} & {*campaign.chosen_cases(2000, 100, seed=1)}
