"""A graph, and where it came from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from torch_geometric.data import Data


@dataclass(frozen=True)
class Source:
    """What a reader gives.

    Args:
        data: the graph.
        files: those it was read from, all of them; none if it was generated.
    """

    data: Data
    files: tuple[Path, ...] = ()
