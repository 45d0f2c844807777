"""The embedded data set: the Minesweeper task of the heterophilous benchmark, generated at any size.

Platonov et al., "A critical look at the evaluation of GNNs under heterophily", ICLR 2023. The published file
holds one 100 × 100 draw of this recipe; its ten splits are stratified by class.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch_geometric.data import Data

from graphgps_ext.errors import ConfigError
from graphgps_ext.transform.seeding import purpose_generator

MINE_SHARE = 0.2
HIDDEN_SHARE = 0.5
# Row and column steps to the eight neighbours, in ascending order of their node ids.
_STEPS = ((-1, -1), (-1, 0), (-1, 1), (0, -1), (0, 1), (1, -1), (1, 0), (1, 1))


def minesweeper_grid(side: int, seed: int) -> Data:
    """A side × side grid with diagonals on which the mines are to be found; N = side².

    Exactly round(0.2 · N) nodes are mines, and exactly round(0.5 · N) nodes, mines or not, hide their count.

    Args:
        side: nodes per row and column; node i is in row i // side.
        seed: of the mines and of the hidden nodes; the graph is the same for all seeds.

    Returns:
        Data with x [N, 7] float32: column 0 is the hidden flag, columns 1–6 say in one-hot form that 0, 1, 2,
        3, 4 or at least 5 neighbours are mines, all zero where hidden; y [N] int64: 1 = mine;
        edge_index [2, E] int64, both directions, sorted by source, then target. No split.

    Raises:
        ValueError: if the grid is too small to hold a mine.
    """
    if side < 2:
        raise ConfigError(f'dataset.grid_side needs 2 or more (a grid with a mine), got {side}')
    num_nodes = side * side
    generator = purpose_generator('minesweeper-grid', seed)
    y = _choose(num_nodes, round(MINE_SHARE * num_nodes), generator).long()
    hidden = _choose(num_nodes, round(HIDDEN_SHARE * num_nodes), generator)

    edge_index = _grid_edges(side)
    num_neighboring_mines = torch.zeros(num_nodes, dtype=torch.long).index_add_(
        0, edge_index[1], y[edge_index[0]]
    )
    x = torch.zeros(num_nodes, 7)
    shown = (~hidden).nonzero().flatten()
    x[hidden, 0] = 1
    x[shown, 1 + num_neighboring_mines[shown].clamp(max=5)] = 1
    return Data(x=x, y=y, edge_index=edge_index)


def _grid_edges(side: int) -> Tensor:
    """[2, E] int64, every node with its at most eight neighbours."""
    row = torch.arange(side).repeat_interleave(side)[:, None]
    column = torch.arange(side).repeat(side)[:, None]
    step = torch.tensor(_STEPS)
    row, column = row + step[:, 0], column + step[:, 1]  # [N, 8], the neighbours
    inside = (row >= 0) & (row < side) & (column >= 0) & (column < side)
    source = torch.arange(side * side)[:, None].expand_as(row)
    return torch.stack([source[inside], (row * side + column)[inside]])


def _choose(num_nodes: int, count: int, generator: torch.Generator) -> Tensor:
    """[N] bool with exactly `count` nodes chosen."""
    chosen = torch.randperm(num_nodes, generator=generator)[:count]
    return torch.zeros(num_nodes, dtype=torch.bool).index_fill_(0, chosen, True)
