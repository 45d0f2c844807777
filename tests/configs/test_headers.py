"""Every shipped config file says what it is, how to run it and what to expect, in one form."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from shipped import CONFIGS, MODELS, SPACES, data_set_of, flat_of, header, said

GROUPS = [
    'metric_best',
    'dataset',
    'prep',
    'posenc_RWSE',
    'train',
    'val',
    'model',
    'gt',
    'spex',
    'gnn',
    'optim',
]


def command(path: Path) -> str:
    needs_data = '' if data_set_of(path) == 'minesweeper-grid' else ' dataset.dir DIR'
    return f'python run/main.py --cfg {path.relative_to(CONFIGS.parent)}{needs_data}'


@pytest.mark.parametrize('path', MODELS, ids=lambda path: path.stem)
def test_header_says_what_it_is_how_to_run_it_and_what_to_expect(path: Path) -> None:
    first, folder, flat = header(path)[0], path.parent.name, flat_of(path)
    assert said(path, 'Run') == command(path)
    assert said(path, 'Expected')
    stage_1 = flat['train.mode'] == 'spexphormer_estimator'
    estimator = flat['spex.estimator'] if flat['train.mode'] == 'spexphormer' else ''
    assert not stage_1 or 'stage 1 of 2' in first
    if estimator:
        assert 'stage 2 of 2' in first
        (needed,) = CONFIGS.glob(f'*/{estimator}.yaml')
        assert said(path, 'First') == command(needed)
    if folder == 'Exphormer':
        assert 'Exphormer' in first
    elif flat['train.mode'] == 'full_graph':
        assert said(path, 'Settings')
    elif folder not in ('Spexphormer', 'SpexphormerPlus'):
        assert 'ablation of Spexphormer' in first


@pytest.mark.parametrize('path', MODELS, ids=lambda path: path.stem)
def test_groups_stand_in_one_order_and_no_line_is_wide(path: Path) -> None:
    text = path.read_text(encoding='utf-8')
    groups = re.findall(r'^(\w+):', text, flags=re.MULTILINE)
    assert groups == [group for group in GROUPS if group in groups]
    assert max(len(line) for line in text.splitlines() if '--cfg' not in line) <= 110


@pytest.mark.parametrize('path', [*MODELS, *SPACES], ids=lambda path: path.stem)
def test_files_that_a_header_names_are_there(path: Path) -> None:
    named = re.findall(r'configs/\S+\.yaml', ' '.join(header(path)))
    assert str(path.relative_to(CONFIGS.parent)) in named
    assert [name for name in named if not (CONFIGS.parent / name).is_file()] == []
