"""From the config to one graph: split, attention graph, virtual nodes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch_geometric.data import Data
from yacs.config import CfgNode

from graphgps_ext.loader import load_dataset, load_graph

SIDE = 10


@pytest.fixture
def grid(graphgym_cfg: CfgNode) -> CfgNode:
    """A config of the embedded grid with 100 nodes."""
    graphgym_cfg.dataset.format, graphgym_cfg.dataset.name = 'grid', 'minesweeper'
    graphgym_cfg.dataset.grid_side = SIDE
    graphgym_cfg.dataset.split_mode = 'random'
    graphgym_cfg.dataset.split = [0.5, 0.3, 0.2]
    graphgym_cfg.prep.exp_deg = 2
    return graphgym_cfg


def load(cfg: CfgNode) -> Data:
    data = load_graph(cfg.dataset.format, cfg.dataset.name, cfg.dataset.dir)
    assert data is not None
    return data


def sizes(data: Data) -> list[int]:
    return [int(data[f'{part}_mask'].sum()) for part in ('train', 'val', 'test')]


def test_random_split_has_the_ratios_and_depends_on_its_seed_alone(grid: CfgNode) -> None:
    first = load(grid)
    assert sizes(first) == [50, 30, 20]
    grid.seed = 7
    assert torch.equal(load(grid).train_mask, first.train_mask)
    grid.dataset.split_seed = 1
    assert not torch.equal(load(grid).train_mask, first.train_mask)


def test_class_balanced_split_trains_on_as_many_nodes_of_each_class(grid: CfgNode) -> None:
    grid.dataset.split_mode = 'class-balanced'
    grid.dataset.split = [0.2, 0.4, 0.4]
    data = load(grid)
    assert data.y[data.train_mask].bincount().tolist() == [10, 10]
    assert sizes(data) == [20, 40, 40]


def test_grid_has_no_split_of_its_own(grid: CfgNode) -> None:
    grid.dataset.split_mode = 'standard'
    with pytest.raises(ValueError, match=r'no split of its own \(set dataset.split_mode to random or'):
        load(grid)


def test_standard_split_is_the_column_of_the_index(grid: CfgNode, tmp_path: Path) -> None:
    part = np.stack([np.arange(9) % 3, np.arange(9) // 3], axis=1)
    masks = {name: part == number for number, name in enumerate(('train_mask', 'val_mask', 'test_mask'))}
    edges, y = np.array([[0, 1], [1, 2]]), np.array([0, 1, -1] * 3)
    np.savez(tmp_path / 'toy.npz', edge_index=edges, x=np.ones((9, 2)), y=y, **masks)
    grid.dataset.format, grid.dataset.path = 'file', str(tmp_path / 'toy.npz')
    grid.dataset.split_mode, grid.dataset.split_index = 'standard', 1
    data = load(grid)
    # Column 1 is 0 0 0 1 1 1 2 2 2; nodes 2, 5 and 8 have no label and are left out.
    assert data.train_mask.nonzero().flatten().tolist() == [0, 1]
    assert data.val_mask.nonzero().flatten().tolist() == [3, 4]
    assert data.test_mask.nonzero().flatten().tolist() == [6, 7]


def test_planetoid_split_chooses_among_the_own_splits(grid: CfgNode, real_datasets: Path) -> None:
    grid.dataset.split_mode = 'standard'
    for key, expected in {'public': [140, 500, 1000], 'geom-gcn': [1192, 796, 497]}.items():
        grid.dataset.planetoid_split = key
        data = load_graph('PyG-Planetoid', 'cora', str(real_datasets))
        assert data is not None and sizes(data) == expected


def test_attention_graph_follows_the_keys(grid: CfgNode) -> None:
    num_nodes, num_grid_edges = SIDE * SIDE, 2 * (2 * SIDE * (SIDE - 1) + 2 * (SIDE - 1) ** 2)
    counts = load(grid).layers[0].edge_type.bincount().tolist()
    assert counts[0] == num_grid_edges and counts[2] == num_nodes
    assert 4 * num_nodes - 10 < counts[1] <= 4 * num_nodes  # less the self-loops of permutations
    grid.prep.exp_algorithm = 'hamiltonian'
    assert load(grid).layers[0].edge_type.bincount().tolist()[1] == 4 * num_nodes
    grid.prep.exp, grid.prep.add_self_loops = False, False
    assert load(grid).layers[0].edge_type.bincount().tolist() == [num_grid_edges]


def test_every_layer_has_the_one_graph_with_its_transpose(grid: CfgNode) -> None:
    grid.model.type, grid.gt.layers, grid.gnn.layers_mp = 'spex_exphormer', 3, 2
    graphs = load(grid).layers
    assert len(graphs) == 3 and all(graph is graphs[0] for graph in graphs)
    assert graphs[0].transpose is not None and graphs[0].transpose.edge_id is None
    grid.model.type = 'gnn'
    assert len(load(grid).layers) == 2


def test_expander_depends_on_its_seed_and_not_on_the_run(grid: CfgNode) -> None:
    first = load(grid).layers[0].source
    grid.seed = 7
    assert torch.equal(load(grid).layers[0].source, first)
    grid.prep.exp_seed = 1
    assert not torch.equal(load(grid).layers[0].source, first)


def test_virtual_nodes_have_neither_features_nor_labels_nor_a_part_of_the_split(grid: CfgNode) -> None:
    plain = load(grid)
    grid.prep.num_virt_node = 2
    data = load(grid)
    assert data.num_nodes == 102 and data.layers[0].num_nodes == 102
    assert data.virtual_node.tolist() == [0] * 100 + [1, 2]
    assert torch.equal(data.x[:100], plain.x) and (data.x[100:] == 0).all()
    assert sizes(data) == sizes(plain) and not (data.train_mask | data.val_mask | data.test_mask)[100:].any()
    types = data.layers[0].edge_type.bincount()
    assert types[2:].tolist() == [102, 200, 200]


def test_edge_features_are_aligned_to_the_attention_graph(grid: CfgNode, tmp_path: Path) -> None:
    edges = np.array([[0, 1, 4], [1, 2, 3]])
    attr = np.array([[1.0, 10.0], [2.0, 20.0], [3.0, 30.0]])
    np.savez(tmp_path / 'toy.npz', edge_index=edges, x=np.ones((6, 2)), y=np.arange(6) % 2, edge_attr=attr)
    grid.dataset.format, grid.dataset.path = 'file', str(tmp_path / 'toy.npz')
    grid.prep.edge_attr, grid.prep.exp_deg = True, 1
    data = load(grid)
    graph = data.layers[0]
    expected = {pair: row for pair, row in zip([(0, 1), (1, 2), (4, 3)], attr.tolist(), strict=True)}
    expected |= {pair[::-1]: row for pair, row in expected.items()}
    assert graph.transpose.edge_id is not None
    assert len(data.attention_edge_attr) == len(data.layers)
    found = zip(*graph.edge_index().tolist(), graph.edge_type.tolist(), strict=True)
    for (source, target, kind), row in zip(found, data.attention_edge_attr[0].tolist(), strict=True):
        assert row == (expected[source, target] if kind == 0 else [0.0, 0.0])


def test_edge_features_are_refused_where_there_are_none(grid: CfgNode) -> None:
    grid.prep.edge_attr = True
    with pytest.raises(ValueError, match=r'minesweeper has no edge features \(set prep.edge_attr False\)'):
        load(grid)


def test_formats_of_others_are_left_to_them(grid: CfgNode) -> None:
    assert load_graph('PyG', 'Cora', 'datasets') is None
    assert load_dataset('PyG', 'Cora', 'datasets') is None


def test_data_set_for_the_stock_main_holds_the_one_graph(grid: CfgNode) -> None:
    dataset = load_dataset('grid', 'minesweeper', '')
    assert dataset is not None and len(dataset) == 1
    data, stored = load(grid), dataset[0]
    assert stored.keys() == data.keys()
    for key in data.keys():
        if isinstance(data[key], torch.Tensor):
            assert torch.equal(stored[key], data[key])
    assert torch.equal(stored.layers[0].source, data.layers[0].source)
