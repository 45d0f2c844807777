"""GraphGym's cfg, which the tests of the config files load them into, is left as it was."""

from collections.abc import Iterator

import pytest
from torch_geometric.graphgym.config import cfg, set_cfg

import graphgps_ext  # noqa: F401


@pytest.fixture(autouse=True)
def _restored_cfg() -> Iterator[None]:
    yield
    set_cfg(cfg)
