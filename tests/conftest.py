"""What all tests share: the real graphs, if they are on this machine, and a clean config of GraphGym."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
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

# What the package remembers of files is not to be that of the user.
os.environ['GRAPHGPS_EXT_CACHE'] = tempfile.mkdtemp(prefix='graphgps-ext-cache-')
atexit.register(shutil.rmtree, os.environ['GRAPHGPS_EXT_CACHE'], ignore_errors=True)

REPOSITORY = Path(__file__).resolve().parent.parent
DATASETS_VARIABLE = 'GRAPHGPS_EXT_DATASETS'

# Files whose tests are all `slow`: whole runs, processes of their own, figures, compilers.
SLOW = (
    'analysis/test_analyze.py',
    'analysis/test_report.py',
    'benches/test_benches.py',
    'benchmark/test_benchmark_command.py',
    'benchmark/test_figures.py',
    'benchmark/test_workers.py',
    'config/test_unread.py',
    'configs/test_models.py',
    'faults/test_campaign.py',
    'faults/test_oracle.py',
    'faults/test_sample.py',
    'loader/test_pyg_datasets.py',
    'network/test_stock_network.py',
    'ops/test_triton_compile.py',
    'test_commands.py',
    'test_disk.py',
    'test_draw_method.py',
    'test_ranks.py',
    'test_refusals.py',
    'test_registration.py',
    'test_signals.py',
    'test_tune.py',
    'train/test_damaged_folders.py',
    'train/test_devices.py',
    'train/test_end_to_end.py',
    'train/test_identity.py',
    'train/test_not_finite.py',
    'train/test_own_graphs.py',
    'train/test_peer_runs.py',
    'train/test_precision.py',
    'train/test_resume.py',
    'train/test_run_folders.py',
    'train/test_sampling_options.py',
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks the tests of these files."""
    folder = Path(__file__).parent
    if gone := [name for name in SLOW if not (folder / name).is_file()]:
        raise pytest.UsageError(f'tests/conftest.py lists slow files that are not there: {", ".join(gone)}')
    slow = {folder / name for name in SLOW}
    for item in items:
        if item.path in slow:
            item.add_marker(pytest.mark.slow)


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
