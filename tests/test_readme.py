"""What the README says is so: its code and commands run, its numbers are the measured ones, its links lead on."""

from __future__ import annotations

import contextlib
import re
import runpy
import shlex
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import runs

README = (runs.REPOSITORY / 'README.md').read_text(encoding='utf-8')
SMALL = (
    'optim.max_epoch',
    '1',
    'optim.num_warmup_epochs',
    '0',
    'gt.attention_impl',
    'torch',
    'num_threads',
    '1',
)


def test_it_is_short() -> None:
    assert len(README.splitlines()) <= 150


def test_the_code_runs() -> None:
    (code,) = re.findall(r'```python\n(.*?)```', README, re.DOTALL)
    found: dict = {}
    exec(code, found)
    assert found['out'].shape == (100, 16)
    assert found['out'].requires_grad


def test_both_stages_train_on_a_file_as_it_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    draw = np.random.default_rng(0)
    x, y = draw.normal(size=(60, 5)), np.arange(60) % 3
    np.savez('my-graph.npz', edge_index=draw.integers(60, size=(2, 200)), x=x, y=y)
    section = README.partition('## Your own graph')[2].partition('\n## ')[0]
    commands = re.findall(r'^    python (.*\\\n.*)$', section, re.MULTILINE)
    assert len(commands) == 2
    for command in commands:
        script, flag, config, *keys = shlex.split(command)
        argv = [script, flag, str(runs.REPOSITORY / config), *keys, *SMALL]
        with runs.as_if_alone(argv), contextlib.suppress(SystemExit):
            runpy.run_path(str(runs.REPOSITORY / script), run_name='__main__')
    for stage in ('estimator', 'spexphormer'):
        assert runs.summary(tmp_path / f'results/mine/minesweeper-grid-{stage}/0')['metric'] == 'accuracy'


def test_every_file_and_folder_that_it_names_is_there() -> None:
    linked = re.findall(r'\]\(([^)#]+)', README)
    named = re.findall(r'(?:configs|docs|run|tests)/[\w./-]+', README)
    assert len(linked) > 10 and len(named) > 10
    assert not [path for path in {*linked, *named} if not (runs.REPOSITORY / path.rstrip('.')).exists()]


def test_its_results_are_the_measured_ones() -> None:
    measured = pd.read_csv(runs.REPOSITORY / 'docs' / 'results.csv')
    names = {
        'Tolokers': 'tolokers',
        'Minesweeper': 'minesweeper',
        'Photo': 'photo',
        'Actor': 'actor-balanced',
    }
    for name, dataset in names.items():
        (line,) = re.findall(rf'^\| {name} \(.*$', README, re.MULTILINE)
        cells = [cell.strip(' *') for cell in line.split('|')]
        for model, cell in (('Spexphormer', 2), ('SpexphormerPlus', 5), ('Exphormer', 6)):
            values = measured.query('dataset == @dataset and model == @model')['test'] * 100
            assert cells[cell] == f'{values.mean():.1f} ± {values.std(ddof=0):.1f}'
