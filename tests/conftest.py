"""What all tests share: the real graphs, if they are on this machine, and a clean config of GraphGym."""

from __future__ import annotations

import os
import shutil
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from yacs.config import CfgNode

with warnings.catch_warnings():
    # Warnings are errors in the tests; those of a third party's import are not ours to mend.
    warnings.simplefilter('ignore')
    import torch_geometric  # noqa: F401

# On the small graphs of the tests two threads are no faster, and wait for each other on a busy machine; the
# tests of threads set them.
torch.set_num_threads(1)

REPOSITORY = Path(__file__).resolve().parent.parent
DATASETS_VARIABLE = 'GRAPHGPS_EXT_DATASETS'


@pytest.fixture(scope='session')
def real_datasets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A private copy of the folder with the real graphs, to be given as `dataset.dir`; skips without it.

    Looked for in $GRAPHGPS_EXT_DATASETS, in datasets/ of the repository and in ../shared/datasets beside it.
    """
    asked_for = os.environ.get(DATASETS_VARIABLE)
    if asked_for and not Path(asked_for).is_dir():
        pytest.fail(f'{DATASETS_VARIABLE} is {asked_for!r}, which is no folder')
    places = (
        [Path(asked_for)]
        if asked_for
        else [
            REPOSITORY / 'datasets',
            REPOSITORY.parent / 'shared' / 'datasets',
        ]
    )
    source = next((place for place in places if place.is_dir()), None)
    if source is None:
        pytest.skip(f'no real graphs here: set {DATASETS_VARIABLE} to a folder with them (see the README)')
    copy = tmp_path_factory.mktemp('real') / 'datasets'
    shutil.copytree(source, copy, ignore=shutil.ignore_patterns('processed'), copy_function=shutil.copyfile)
    for folder in [copy, *(path for path in copy.rglob('*') if path.is_dir())]:
        folder.chmod(0o755)  # the source may be read-only
    return copy


@pytest.fixture
def graphgym_cfg() -> Iterator[CfgNode]:
    """GraphGym's live cfg at the defaults of GraphGym and of this package, before a test and after it."""
    from torch_geometric.graphgym.config import cfg, set_cfg

    import graphgps_ext  # noqa: F401

    def reset() -> None:
        cfg.clear()  # also of keys that a test has added
        set_cfg(cfg)

    reset()
    yield cfg
    reset()
