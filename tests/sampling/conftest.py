"""The implementations of the samplers: each test that takes one of these fixtures runs with all of them."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from draw_cases import INTERPRETED, ON_GPU

from graphgps_ext.graph import InNeighbors
from graphgps_ext.sampling.relabel import TorchRelabeler


@pytest.fixture
def draw_triton() -> Any:
    """The draw by Triton's kernels of tensors on the CPU: on a GPU if there is one, or in the interpreter.

    Takes what `draw_numba` takes, and as `tile` and `hub` sizes of the kernels' tiles. In the interpreter an
    operation takes as long as many edges do: unless asked otherwise few programs draw many rows each.
    """
    if not (ON_GPU or INTERPRETED):
        pytest.skip('runs in the interpreter instead, see test_sampling_triton.py')
    from graphgps_ext.sampling import neighbors_triton

    device = 'cuda' if ON_GPU else 'cpu'

    def draw(
        graph: InNeighbors,
        weights: torch.Tensor | None,
        degree: int,
        strategy: str,
        fill: str,
        key: int | torch.Tensor,
        nodes: torch.Tensor | None,
        sums: None = None,
        *,
        checked: bool = False,
        tile: int | None = None,
        hub: int | None = None,
    ) -> tuple[torch.Tensor, ...]:
        assert sums is None
        with pytest.MonkeyPatch.context() as patch:
            if tile or INTERPRETED:
                few = min(2**17, max(16, 2 ** (graph.num_edges // 4).bit_length()))
                patch.setattr(neighbors_triton, 'TILE', tile or few)
            if hub or INTERPRETED:
                patch.setattr(neighbors_triton, 'HUB', hub or graph.num_edges)
            given = (graph, weights, degree, strategy, fill, key, nodes)
            moved = (x.to(device) if hasattr(x, 'to') else x for x in given)
            drawn = neighbors_triton.draw_triton(*moved, checked=checked)
        return tuple(x.cpu() for x in drawn)

    return draw


@pytest.fixture(params=['numba', 'triton'])
def implementation(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Makes the public functions draw by one implementation or the other."""
    if request.param == 'triton':
        draw = request.getfixturevalue('draw_triton')
        monkeypatch.setattr('graphgps_ext.sampling.neighbors.draw_numba', draw)
    return request.param


@pytest.fixture(params=['numba', 'torch'])
def relabeler(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Makes walks relabel by one implementation or the other."""
    if request.param == 'torch':
        monkeypatch.setattr('graphgps_ext.sampling.neighborhood.make_relabeler', TorchRelabeler)
    return request.param
