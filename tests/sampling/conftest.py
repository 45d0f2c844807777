"""Both implementations of the samplers that run on a CPU; CUDA runs the plain torch one."""

from __future__ import annotations

import pytest


@pytest.fixture(params=['numba', 'torch'])
def implementation(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Makes the public functions take one implementation or the other."""
    if request.param == 'torch':
        monkeypatch.setattr('graphgps_ext.sampling.neighbors.has_numba', lambda: False)
        monkeypatch.setattr('graphgps_ext.sampling.relabel.has_numba', lambda: False)
    return request.param
