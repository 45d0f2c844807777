"""The embedded grid against a loop over cells and against the published file."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from sources import read
from torch import Tensor

from graphgps_ext.loader.datasets import minesweeper_grid


def count_mines_by_loop(y: Tensor, side: int) -> tuple[list[int], set[tuple[int, int]]]:
    """Neighbouring mines of each cell, and all directed edges."""
    counts, edges = [0] * side**2, set()
    for row in range(side):
        for column in range(side):
            for r in range(max(row - 1, 0), min(row + 2, side)):
                for c in range(max(column - 1, 0), min(column + 2, side)):
                    if (r, c) != (row, column):
                        counts[row * side + column] += int(y[r * side + c])
                        edges.add((row * side + column, r * side + c))
    return counts, edges


def check_features(x: Tensor, y: Tensor, side: int) -> None:
    counts, _ = count_mines_by_loop(y, side)
    for node, count in enumerate(counts):
        expected = [0.0] * 7
        expected[0 if x[node, 0] else 1 + min(count, 5)] = 1.0
        assert x[node].tolist() == expected


@pytest.mark.parametrize('side', [2, 3, 7, 20])
def test_grid_matches_a_loop_over_its_cells(side: int) -> None:
    data = minesweeper_grid(side, seed=side)
    assert data.x.dtype == torch.float32 and data.y.dtype == data.edge_index.dtype == torch.int64
    assert int(data.y.sum()) == round(0.2 * side**2)
    assert int(data.x[:, 0].sum()) == round(0.5 * side**2)
    check_features(data.x, data.y, side)
    edges = list(map(tuple, data.edge_index.t().tolist()))
    assert set(edges) == count_mines_by_loop(data.y, side)[1]
    assert edges == sorted(edges) and len(edges) == len(set(edges))


def test_grid_is_a_function_of_its_seed_alone() -> None:
    torch.manual_seed(1)
    first = minesweeper_grid(12, seed=5)
    torch.manual_seed(2)
    state = torch.get_rng_state()
    again, other = minesweeper_grid(12, seed=5), minesweeper_grid(12, seed=6)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(first.x, again.x) and torch.equal(first.y, again.y)
    assert not torch.equal(first.y, other.y) and torch.equal(first.edge_index, other.edge_index)


def test_mines_and_hidden_nodes_are_drawn_independently_and_evenly() -> None:
    draws = [minesweeper_grid(6, seed) for seed in range(1500)]
    mine = torch.stack([data.y for data in draws]).float()
    hidden = torch.stack([data.x[:, 0] for data in draws])
    # five standard deviations of a frequency over 1,500 draws
    torch.testing.assert_close(mine.mean(0), torch.full((36,), 7 / 36), atol=0.052, rtol=0)
    torch.testing.assert_close(hidden.mean(0), torch.full((36,), 0.5), atol=0.065, rtol=0)
    assert float((mine * hidden).sum() / mine.sum()) == pytest.approx(0.5, abs=0.025)


@pytest.mark.parametrize('side', [-3, 0, 1])
def test_grid_without_room_for_a_mine_is_refused(side: int) -> None:
    with pytest.raises(ValueError, match=rf'dataset\.grid_side needs 2 or more .*got {side}'):
        minesweeper_grid(side, seed=0)


def test_grid_is_the_published_graph_with_the_published_statistics(real_datasets: Path) -> None:
    real = read('PyG-HeterophilousGraphDataset', 'minesweeper', real_datasets)
    data = read('grid', 'minesweeper', real_datasets, grid_side=100, grid_seed=0)
    assert real is not None and data is not None
    assert data.edge_index.shape[1] == 2 * 39_402
    assert torch.equal(data.edge_index, real.edge_index)
    check_features(real.x, real.y, side=100)  # the columns mean in the file what they mean here
    assert data.y.bincount().tolist() == real.y.bincount().tolist() == [8000, 2000]
    assert int(data.x[:, 0].sum()) == int(real.x[:, 0].sum()) == 5000
    # Shares of the counts 0..≥5 among shown nodes: five standard deviations of the difference of two draws.
    torch.testing.assert_close(data.x.mean(0), real.x.mean(0), atol=0.035, rtol=0)
    share = [float(d.x[d.y == 1, 0].mean()) for d in (data, real)]
    assert share == pytest.approx([0.5, 0.5], abs=0.06)  # half of the mines, too, are shown
