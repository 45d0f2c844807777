"""What a batch carries for each layer of a network, and the graph that message passing sees.

A batch has `layers`, a :class:`PerLayer` of L graphs (those of a full batch are one and the same), and, where
edges have features, `attention_edge_attr`, a :class:`PerLayer` of [E, D] or [N, K, D].
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from typing import Any

import torch
from torch import Tensor
from torch_geometric.data import Data

from graphgps_ext.errors import ConfigError
from graphgps_ext.graph import Graph, PerLayer, graph_edges


def per_layer(batch: Data, key: str) -> PerLayer[Any]:
    """`batch[key]`, also from the list of one that PyG's collation (in GraphGym's stock main) makes of it."""
    value = batch[key]
    return value[0] if isinstance(value, list) else value


def to_device(batch: Data, device: torch.device) -> Data:
    """Moves a batch, in place; what is on it moves together.

    What it carries for each layer is moved here: from an error in there, such as a lack of memory, PyG would
    go on with what lies on the old device.
    """
    if batch.x.device == device:
        return batch
    for key in ('layers', 'attention_edge_attr'):
        if key in batch:
            batch[key] = per_layer(batch, key).to(device)
    return batch.to(device)


def with_index_lists(batch: Data) -> Data:
    """A full batch whose masks are index lists: they select the same rows, and a GPU need not be waited for.

    Where tasks are without a label, `<split>_known` says where in the flat labels of the split one is known.
    """
    batch = copy.copy(batch)
    for split in ('train', 'val', 'test'):
        index = batch[f'{split}_mask'].nonzero().flatten()
        batch[f'{split}_mask'] = index
        unknown = batch.y[index].isnan()
        if unknown.any():
            batch[f'{split}_known'] = (~unknown).flatten().nonzero().flatten()
    return batch


def batch_tensors(batch: Data) -> list[Tensor]:
    """All tensors of a batch, in an order that batches of one kind share."""
    return [tensor for _, value in batch for tensor in _tensors(value)]


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, list | tuple | PerLayer):
        for item in value:
            yield from _tensors(item)
    elif is_dataclass(value):
        for field in fields(value):
            yield from _tensors(getattr(value, field.name))


def layer_graphs(batch: Data, num_layers: int) -> PerLayer[Graph]:
    """The graph of each layer.

    Raises:
        ConfigError: if there is none, or not one for each layer.
    """
    graphs = _graphs(batch)
    if len(graphs) != num_layers:
        raise ConfigError(
            f'a network of {num_layers} layers needs a batch of as many graphs, '
            f'got {len(graphs)} (set gt.layers or spex.layer_degrees)'
        )
    return graphs


def edge_attr_per_layer(batch: Data, num_layers: int) -> PerLayer[Tensor | None]:
    """The edge features of each layer's graph, [E, D] or [N, K, D]; None where it has none."""
    if 'attention_edge_attr' not in batch:
        return PerLayer([None] * num_layers)
    return per_layer(batch, 'attention_edge_attr')


def take_layer(batch: Data) -> tuple[Graph, Tensor | None]:
    """Takes the next layer's graph and edge features off the batch, for stacks whose layers see it alone.

    Raises:
        ConfigError: if no graph is left.
    """
    graphs = _graphs(batch)
    edge_attr = edge_attr_per_layer(batch, len(graphs))
    if not len(graphs):
        raise ConfigError(
            'each layer needs a graph on the batch, got more layers than graphs (set gnn.layers_mp)'
        )
    batch.layers = PerLayer([*graphs][1:])
    if 'attention_edge_attr' in batch:
        batch.attention_edge_attr = PerLayer([*edge_attr][1:])
    return graphs[0], edge_attr[0]


def _graphs(batch: Data) -> PerLayer[Graph]:
    if 'layers' not in batch:
        raise ConfigError(
            'this layer needs an attention graph on the batch, got none: load the data with a dataset.format '
            'of graphgps_ext (see the README)'
        )
    return per_layer(batch, 'layers')


def plain_graph(data: Data) -> Data:
    """What message passing sees of `data`: its graph edges, without expander, self-loops or attention graph.

    Like the attention graph's they are coalesced, sorted by target (a scatter on a CPU is several times
    faster than on unsorted ones) and, unless the config says otherwise, in both directions.

    Returns:
        `x`, `y`, the masks, `edge_index` [2, E] int64, and `n_id` [N] int64, which a part of the graph keeps.
    """
    keys = ('x', 'y', 'train_mask', 'val_mask', 'test_mask')
    plain = Data(**{key: data[key] for key in keys if key in data})
    plain.edge_index = graph_edges(data.layers[0])
    plain.n_id = torch.arange(data.num_nodes, device=plain.edge_index.device)
    return plain
