"""PyG's models as networks for GraphGym, small, on a grid of 49 nodes."""

from __future__ import annotations

from typing import Any

import torch
from torch_geometric.data import Data
from torch_geometric.graphgym.register import network_dict

from graphgps_ext.loader import load_graph
from graphgps_ext.transform.batch import plain_graph

SIDE, WIDTH, CLASSES = 7, 8, 3
ZEROS = torch.zeros(SIDE**2, dtype=torch.long)  # the batch vector of one graph


def graph() -> Data:
    data = load_graph('grid', 'minesweeper', '')
    assert data is not None
    return plain_graph(data)


def network(name: str, dim_out: int = CLASSES) -> Any:
    """A network in evaluation mode whose batch norms have seen something."""
    torch.manual_seed(0)
    net = network_dict[name](dim_in=7, dim_out=dim_out)
    with torch.no_grad():
        net.train()(graph())
    return net.eval()
