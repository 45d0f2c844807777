"""What a summary says about where it comes from."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import torch

from graphgps_ext import provenance


def commit(folder: Path) -> None:
    for arguments in (['init', '-q'], ['add', '.'], ['commit', '-q', '-m', 'first']):
        who = ['-c', 'user.name=a', '-c', 'user.email=a@b']
        subprocess.run(['git', *who, *arguments], cwd=folder, check=True)


def test_revision_is_that_of_the_code_and_says_whether_it_was_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / 'code.py'
    file.write_text('')
    monkeypatch.setattr(provenance, '__file__', str(file))
    revision_now = provenance.git_revision.__wrapped__  # which does not remember
    assert revision_now() is None
    commit(tmp_path)
    head = subprocess.run(['git', 'rev-parse', 'HEAD'], cwd=tmp_path, capture_output=True, text=True).stdout
    revision = revision_now()
    assert revision is not None and len(revision) >= 7 and head.startswith(revision)
    file.write_text('changed')
    assert revision_now() == f'{revision}-dirty'
    (tmp_path / 'installed.py').write_text('')
    monkeypatch.setattr(provenance, '__file__', str(tmp_path / 'installed.py'))
    assert revision_now() is None  # of that repository nothing can be said


def test_versions_are_those_of_what_computes() -> None:
    found = provenance.versions()
    assert list(found) == ['python', 'torch', 'torch_geometric', 'graphgps_ext']
    assert found['torch'] == torch.__version__ and all(found.values())
    assert provenance.device_name(torch.device('cpu')) == f'cpu, {torch.get_num_threads()} threads'
