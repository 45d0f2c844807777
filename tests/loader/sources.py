"""A graph as its reader gives it."""

from __future__ import annotations

from typing import Any

from torch_geometric.data import Data

from graphgps_ext.loader.datasets import load_data


def read(*args: Any, **options: Any) -> Data:
    """The graph alone of :func:`load_data`, which must know the format."""
    source = load_data(*args, **options)
    assert source is not None
    return source.data
