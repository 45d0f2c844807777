"""How graphs of attention travel on PyG's `Data`: flat tensors, so that PyG's collation and `to` apply."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor
from torch_geometric.data import Data

from graphgps_ext.errors import ConfigError
from graphgps_ext.graph import Graph, InNeighbors, OutNeighbors, graph_edges
from graphgps_ext.ops import with_transpose


def attach_attention_graph(data: Data, graph: InNeighbors) -> Data:
    """Puts `graph` and its transpose on a shallow copy of `data`, as tensors named `attention_*`."""
    graph = with_transpose(graph, with_edge_id='attention_edge_attr' in data)
    assert graph.transpose is not None
    data = data.__copy__()
    data.attention_indptr = graph.indptr
    data.attention_source = graph.source
    data.attention_type = graph.edge_type
    data.attention_out_indptr = graph.transpose.indptr
    data.attention_out_target = graph.transpose.target
    data.attention_out_type = graph.transpose.edge_type
    if graph.transpose.edge_id is not None:
        data.attention_out_id = graph.transpose.edge_id
    return data


def attention_graph_of(data: Data) -> InNeighbors:
    """The attention graph that :func:`attach_attention_graph` put on `data`.

    Raises:
        ValueError: if there is none.
    """
    if 'attention_indptr' not in data:
        raise ConfigError(
            'this layer needs an attention graph on the batch, got none: load the data with a dataset.format '
            'of graphgps_ext (see the README)'
        )
    return InNeighbors(
        data.attention_indptr,
        data.attention_source,
        data.attention_type,
        num_sources=data.attention_indptr.numel() - 1,
        transpose=OutNeighbors(
            data.attention_out_indptr,
            data.attention_out_target,
            data.attention_out_type,
            data.get('attention_out_id'),
        ),
    )


def plain_graph(data: Data) -> Data:
    """What message passing sees of `data`: its graph edges, without expander, self-loops or attention graph.

    Like the attention graph's they are coalesced, sorted by target (a scatter on a CPU is several times
    faster than on unsorted ones) and, unless the config says otherwise, in both directions.

    Returns:
        `x`, `y`, the masks, `edge_index` [2, E] int64, and `n_id` [N] int64, which a part of the graph keeps.
    """
    keys = ('x', 'y', 'train_mask', 'val_mask', 'test_mask')
    plain = Data(**{key: data[key] for key in keys if key in data})
    plain.edge_index = graph_edges(attention_graph_of(data))
    plain.n_id = torch.arange(data.num_nodes, device=plain.edge_index.device)
    return plain


def layer_graphs(data: Data, num_layers: int) -> Sequence[Graph]:
    """The graph of each layer: the sampled tables of a layered batch, or the one attention graph L times.

    Raises:
        ValueError: if a layered batch has another number of layers.
    """
    if 'layers' not in data:
        return [attention_graph_of(data)] * num_layers
    if len(data.layers) != num_layers:
        raise ConfigError(
            f'a network of {num_layers} layers needs a batch of as many sampled layers, '
            f'got {len(data.layers)} (set gt.layers or spex.layer_degrees)'
        )
    return data.layers


def edge_attr_per_layer(data: Data, num_layers: int) -> Iterator[Tensor | None]:
    """The edge features of each layer's graph, [E, D] or [N, K, D]; None where the graph has none."""
    if 'attention_edge_attr' not in data:
        yield from [None] * num_layers
    elif 'layers' in data:
        yield from data.attention_edge_attr
    else:
        yield from [data.attention_edge_attr] * num_layers
