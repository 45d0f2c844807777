"""A world of small runs for all tests of faults in one process."""

from __future__ import annotations

from pathlib import Path

import pytest

from faults import world as of_faults


@pytest.fixture(scope='session')
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs of every state (see `faults.world`); not to be changed."""
    folder = tmp_path_factory.mktemp('faults') / 'world'
    of_faults.build(folder)
    return folder
