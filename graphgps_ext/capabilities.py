"""What a registered network can do, said where it is registered, asked by the name of its `model.type`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from torch_geometric.graphgym.register import network_dict

Builder = TypeVar('Builder', bound=Callable[..., Any])


@dataclass(frozen=True)
class Capabilities:
    """What a network can do. The defaults are right for those of GraphGym and of other plugins.

    Args:
        sees_edges: its output depends on edges.
        plain: it sees node features and graph edges alone: no expander, virtual node or edge feature.
        parts: it can see a part of the graph (`train.sampler random_node`); plain networks alone.
        stage_types: values of `gnn.stage_type` that it knows; None = it does not say.
        gt_width: its blocks, of width `gt.dim_hidden`, follow encoders of width `gnn.dim_inner`.
        temperature: its attribute `temperature` is that of every soft-max of its attention.
        phases: it trains in phases: `changes_phase(epoch)` and `start_epoch(epoch)`.
    """

    sees_edges: bool = True
    plain: bool = False
    parts: bool = False
    stage_types: tuple[str, ...] | None = None
    gt_width: bool = False
    temperature: bool = False
    phases: bool = False

    def __call__(self, builder: Builder) -> Builder:
        """Says so of a builder or class, as a decorator below `register_network`."""
        builder.capabilities = self  # type: ignore[attr-defined]
        return builder


def capabilities(model_type: str) -> Capabilities:
    """Those of the network registered under this name."""
    return getattr(network_dict.get(model_type), 'capabilities', Capabilities())
