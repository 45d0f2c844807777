"""What the README says is so: code and commands run, numbers are the measured ones, links lead somewhere."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import runs

README = (runs.REPOSITORY / 'README.md').read_text(encoding='utf-8')


def test_it_is_short() -> None:
    assert len(README.splitlines()) <= 150


def test_the_code_runs() -> None:
    (code,) = re.findall(r'```python\n(.*?)```', README, re.DOTALL)
    found: dict = {}
    exec(code, found)
    assert found['out'].shape == (100, 16)
    assert found['out'].requires_grad


def test_both_stages_train_on_a_file_as_it_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    draw = np.random.default_rng(0)
    x, y = draw.normal(size=(60, 5)), np.arange(60) % 3
    np.savez('my-graph.npz', edge_index=draw.integers(60, size=(2, 200)), x=x, y=y)
    section = README.partition('## Your own graph')[2].partition('\n## ')[0]
    commands = re.findall(r'^    python (.*\\\n.*)$', section, re.MULTILINE)
    for stage, command in zip(('estimator', 'spexphormer'), commands, strict=True):
        script, flag, config, *rest = shlex.split(command.replace('\\\n', ' '))
        assert (script, flag) == ('run/main.py', '--cfg')
        assert runs.REPOSITORY / config == runs.CONFIGS[stage]
        folder = runs.run(stage, tmp_path, dict(zip(rest[::2], rest[1::2], strict=True)))
        finished = tmp_path / 'results' / 'mine' / folder.name / '0'
        assert runs.summary(finished)['metric'] == 'accuracy'
        assert runs.summary(finished)['num_nodes'] == 60


def test_every_file_and_folder_that_it_names_is_there() -> None:
    linked = re.findall(r'\]\(([^)#]+)', README)
    named = re.findall(r'(?:configs|docs|run|tests)/[\w./-]+', README)
    assert len(linked) > 10 and len(named) > 10
    assert not [path for path in {*linked, *named} if not (runs.REPOSITORY / path.rstrip('.')).exists()]


@pytest.mark.parametrize(
    ('row', 'dataset'),
    [
        ('Tolokers', 'tolokers'),
        ('Minesweeper', 'minesweeper'),
        ('Photo', 'photo'),
        ('Actor', 'actor-balanced'),
    ],
)
def test_its_results_are_the_measured_ones(row: str, dataset: str) -> None:
    measured = pd.read_csv(runs.REPOSITORY / 'docs' / 'results.csv')
    (line,) = re.findall(rf'^\| {row} \(.*$', README, re.MULTILINE)
    cells = [cell.strip(' *') for cell in line.split('|')]
    for model, cell in (('Spexphormer', 2), ('SpexphormerPlus', 5), ('Exphormer', 6)):
        values = 100 * measured[(measured['dataset'] == dataset) & (measured['model'] == model)]['test']
        assert cells[cell] == f'{values.mean():.1f} ± {values.std(ddof=0):.1f}'
