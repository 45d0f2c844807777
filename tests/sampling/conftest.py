"""Both implementations of the samplers that run on a CPU; CUDA runs the plain torch one."""

from __future__ import annotations

import pytest

from graphgps_ext.sampling.neighbors_torch import draw_torch
from graphgps_ext.sampling.relabel import TorchRelabeler


@pytest.fixture(params=['numba', 'torch'])
def implementation(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Makes the public functions take one implementation or the other."""
    if request.param == 'torch':
        monkeypatch.setattr('graphgps_ext.sampling.neighbors.draw_numba', lambda *args: draw_torch(*args[:7]))
        monkeypatch.setattr('graphgps_ext.sampling.neighborhood.make_relabeler', TorchRelabeler)
    return request.param
