"""How graphs travel on PyG's Data: one per layer, moved once, and through PyG's own collation."""

from __future__ import annotations

import copy

import pytest
import torch
from torch_geometric.data import Batch, Data

from graphgps_ext.graph import InNeighbors, PerLayer
from graphgps_ext.transform.batch import (
    edge_attr_per_layer,
    layer_graphs,
    plain_graph,
    take_layer,
    to_device,
)


def some_graph() -> InNeighbors:
    return InNeighbors.from_edge_index(torch.tensor([[0, 1, 2, 0], [1, 2, 0, 0]]), 5)


def whole_graph(num_layers: int = 3) -> Data:
    graph, edge_attr = some_graph(), torch.ones(4, 2)
    return Data(
        x=torch.zeros(5, 1),
        layers=PerLayer([graph] * num_layers),
        attention_edge_attr=PerLayer([edge_attr] * num_layers),
    )


def ids(items: PerLayer) -> list[int]:
    return [id(item) for item in items]


def test_graphs_survive_what_pyg_does_to_data() -> None:
    data = whole_graph()
    for carrier in (data, copy.copy(data), data.clone(), Batch.from_data_list([data])):
        assert ids(layer_graphs(carrier, 3)) == ids(data.layers)
        assert ids(edge_attr_per_layer(carrier, 3)) == ids(data.attention_edge_attr)


@pytest.mark.parametrize('collated', [False, True])
def test_what_layers_share_moves_to_a_device_once(collated: bool) -> None:
    data = whole_graph()
    moved = (Batch.from_data_list([data]) if collated else copy.copy(data)).to('meta')
    for found in (layer_graphs(moved, 3), edge_attr_per_layer(moved, 3)):
        assert len(found) == 3 and len({*ids(found)}) == 1
    assert layer_graphs(moved, 3)[0].source.is_meta and edge_attr_per_layer(moved, 3)[0].is_meta
    assert not data.layers[0].source.is_meta


@pytest.mark.parametrize('collated', [False, True])
def test_an_error_while_graphs_move_is_not_passed_over(
    collated: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: InNeighbors, device: object, **kwargs: object) -> InNeighbors:
        raise torch.OutOfMemoryError('no room')

    batch = Batch.from_data_list([whole_graph()]) if collated else whole_graph()
    assert layer_graphs(to_device(copy.copy(batch), torch.device('meta')), 3)[0].source.is_meta
    monkeypatch.setattr(InNeighbors, 'to', full)
    with pytest.raises(torch.OutOfMemoryError, match='no room'):
        to_device(batch, torch.device('meta'))


def test_a_graph_that_is_there_is_not_made_again() -> None:
    graph = some_graph()
    assert graph.to('cpu') is graph


def test_a_layer_at_a_time_uses_the_batch_up() -> None:
    graphs, attrs = [some_graph(), some_graph()], [torch.ones(4, 2), torch.zeros(4, 2)]
    batch = Data(x=torch.zeros(5, 1), layers=PerLayer(graphs))
    assert [take_layer(batch)[1] for _ in graphs] == [None, None]
    with pytest.raises(ValueError, match=r'got more layers than graphs \(set gnn.layers_mp\)'):
        take_layer(batch)
    batch.layers, batch.attention_edge_attr = PerLayer(graphs), PerLayer(attrs)
    collated = Batch.from_data_list([batch])
    for graph, attr in zip(graphs, attrs, strict=True):
        found = take_layer(collated)
        assert found[0] is graph and found[1] is attr
    assert len(batch.layers) == 2


def test_a_function_of_each_layer_is_called_once_for_what_layers_share() -> None:
    seen: list[str] = []

    def note(name: str) -> str:
        seen.append(name)
        return name + '!'

    assert list(PerLayer(['a', 'b', 'a', 'a']).map(note)) == ['a!', 'b!', 'a!', 'a!']
    assert seen == ['a', 'b']


def test_data_without_graphs_or_with_another_number_are_refused() -> None:
    bare = Data(x=torch.zeros(5, 1))
    for ask in (lambda: layer_graphs(bare, 1), lambda: take_layer(bare)):
        with pytest.raises(ValueError, match=r'needs an attention graph on the batch, got none: load the '):
            ask()
    message = r'network of 2 layers .* got 3 \(set gt.layers or spex.layer_degrees\)'
    with pytest.raises(ValueError, match=message):
        layer_graphs(whole_graph(), 2)


def test_graph_without_edge_features_has_none_in_any_layer() -> None:
    assert list(edge_attr_per_layer(Data(), 3)) == [None] * 3


def test_plain_graph_keeps_the_edges_of_the_graph_alone() -> None:
    edge_index = torch.tensor([[0, 1, 2], [1, 2, 0]])
    graph = InNeighbors.from_edge_index(edge_index, 3, edge_type=torch.tensor([0, 1, 0]))
    plain = plain_graph(Data(x=torch.zeros(3, 1), y=torch.arange(3), layers=PerLayer([graph])))
    assert plain.edge_index.tolist() == [[2, 0], [0, 1]] and plain.n_id.tolist() == [0, 1, 2]
    assert set(plain.keys()) == {'x', 'y', 'edge_index', 'n_id'}
