"""PyG's data sets: known numbers on the real files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from fake_network import files_under
from sources import read
from torch_geometric.utils import remove_self_loops, to_undirected

from graphgps_ext.loader.datasets import FORMATS, load_data
from graphgps_ext.transform.split import fixed_split, labeled_nodes, num_fixed_splits

MASKS = ('train_mask', 'val_mask', 'test_mask')


@pytest.mark.parametrize(
    ('format', 'name', 'nodes', 'features', 'undirected_edges', 'class_sizes', 'unlabeled'),
    [
        ('PyG-Actor', 'none', 7600, 932, 26_659, [853, 1337, 1630, 1815, 1965], 0),
        ('PyG-HeterophilousGraphDataset', 'Minesweeper', 10_000, 7, 39_402, [8000, 2000], 0),
        ('PyG-HeterophilousGraphDataset', 'tolokers', 11_758, 10, 519_000, [9192, 2566], 0),
        ('PyG-Amazon', 'Photo', 7650, 745, 119_081, [369, 1686, 703, 915, 882, 823, 1941, 331], 0),
        ('PyG-Planetoid', 'cora', 2708, 1433, 5278, [351, 217, 418, 818, 426, 298, 180], 0),
        ('PyG-LINKXDataset', 'reed98', 962, 745, 18_812, [504, 361], 97),
        ('PyG-LINKXDataset', 'JohnsHopkins55', 5180, 2406, 186_586, [2153, 2609], 418),
    ],
)
def test_real_graph_has_the_known_numbers(
    real_datasets: Path,
    format: str,
    name: str,
    nodes: int,
    features: int,
    undirected_edges: int,
    class_sizes: list[int],
    unlabeled: int,
) -> None:
    before = files_under(real_datasets)
    data = read(format, name, real_datasets)
    assert data.x.shape == (nodes, features) and data.x.dtype == torch.float32
    assert data.y.shape == (nodes,) and data.y.dtype == data.edge_index.dtype == torch.int64
    assert data.y[data.y >= 0].bincount().tolist() == class_sizes
    assert int((data.y == -1).sum()) == unlabeled
    edge_index, _ = remove_self_loops(to_undirected(data.edge_index))
    assert edge_index.shape[1] == 2 * undirected_edges
    assert files_under(real_datasets) == before  # nothing processed is kept


@pytest.mark.parametrize(
    ('format', 'name', 'planetoid_split', 'num_splits', 'split_sizes'),
    [
        ('PyG-Actor', '', 'public', 10, (3648, 2432, 1520)),
        ('PyG-HeterophilousGraphDataset', 'minesweeper', 'public', 10, (5000, 2500, 2500)),
        ('PyG-HeterophilousGraphDataset', 'tolokers', 'public', 10, (5879, 2939, 2940)),
        ('PyG-Planetoid', 'Cora', 'public', 1, (140, 500, 1000)),
        ('PyG-Planetoid', 'CORA', 'geom-gcn', 10, (1192, 796, 497)),
    ],
)
def test_real_graph_has_the_known_splits(
    real_datasets: Path,
    format: str,
    name: str,
    planetoid_split: str,
    num_splits: int,
    split_sizes: tuple[int, int, int],
) -> None:
    data = read(format, name, real_datasets, planetoid_split=planetoid_split)
    masks = [data[key] for key in MASKS]
    assert num_fixed_splits(*masks) == num_splits
    splits = [fixed_split(*masks, index, labeled_nodes(data.y)) for index in range(num_splits)]
    assert (int(splits[0].train.sum()), int(splits[0].val.sum()), int(splits[0].test.sum())) == split_sizes
    assert len({tuple(split.test.nonzero().flatten().tolist()) for split in splits}) == num_splits


def test_actor_features_and_labels_stand_in_the_row_of_their_node(real_datasets: Path) -> None:
    data = read('PyG-Actor', '', real_datasets)
    lines = (real_datasets / 'Actor' / 'raw' / 'out1_node_feature_label.txt').read_text().splitlines()[1:]
    ids = [int(line.split('\t')[0]) for line in lines]
    assert ids != sorted(ids)  # or this test would show nothing
    for line in lines[::50]:
        node, features, label = line.split('\t')
        assert data.x[int(node)].nonzero().flatten().tolist() == sorted({int(f) for f in features.split(',')})
        assert int(data.y[int(node)]) == int(label)


def test_actor_edges_stay_directed_as_in_the_source(real_datasets: Path) -> None:
    data = read('PyG-Actor', '', real_datasets)
    lines = (real_datasets / 'Actor' / 'raw' / 'out1_graph_edges.txt').read_text().splitlines()[1:]
    assert set(map(tuple, data.edge_index.t().tolist())) == {tuple(map(int, line.split())) for line in lines}


def test_unknown_format_is_left_to_others(tmp_path: Path) -> None:
    assert load_data('PyG-ZINC', 'subset', tmp_path) is None
    assert 'PyG-Actor' in FORMATS and 'file' in FORMATS


def test_unknown_name_is_answered_with_the_nearest_and_all_known(tmp_path: Path) -> None:
    with pytest.raises(
        ValueError,
        match=r"'tolokrs' is no data set of PyG-Het.*did you mean tolokers\? \(known: roman-empire, ",
    ):
        load_data('PyG-HeterophilousGraphDataset', 'tolokrs', tmp_path)
    with pytest.raises(
        ValueError, match=r"dataset\.planetoid_split must be one of .*'geom-gcn'.* got 'random'"
    ):
        load_data('PyG-Planetoid', 'cora', tmp_path, planetoid_split='random')


def test_wikics_keeps_its_direction_its_twenty_splits_and_one_test_mask(tmp_path: Path) -> None:
    parts = [[[node % 5 == part for node in range(20)] for _ in range(20)] for part in range(3)]
    raw = {
        'features': np.eye(20).tolist(),
        'labels': [node % 4 for node in range(20)],
        'links': [[(node + 1) % 20] for node in range(20)],
        'train_masks': parts[0],
        'val_masks': parts[1],
        'stopping_masks': parts[2],
        'test_mask': [node % 5 > 2 for node in range(20)],
    }
    file = tmp_path / 'WikiCS' / 'raw' / 'data.json'
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps(raw))
    data = read('PyG-WikiCS', 'none', tmp_path)
    assert data.edge_index.tolist() == [list(range(20)), [*range(1, 20), 0]]
    assert data.train_mask.shape == data.stopping_mask.shape == (20, 20) and data.test_mask.shape == (20,)
    split = fixed_split(data.train_mask, data.val_mask, data.test_mask, 19)
    assert split.test.nonzero().flatten().tolist() == [3, 4, 8, 9, 13, 14, 18, 19]


def test_names_with_a_hyphen_are_found_under_an_underscore(tmp_path: Path) -> None:
    file = tmp_path / 'HeterophilousGraphDataset' / 'amazon_ratings' / 'raw' / 'amazon_ratings.npz'
    file.parent.mkdir(parents=True)
    masks = np.eye(3, 4, dtype=bool)[None].repeat(10, axis=0)
    np.savez(
        file,
        node_features=np.ones((4, 2), np.float16),
        node_labels=np.arange(4) % 2,
        edges=np.array([[0, 1], [2, 3]]),
        train_masks=masks[:, 0],
        val_masks=masks[:, 1],
        test_masks=masks[:, 2],
    )
    for name in ('amazon-ratings', 'Amazon_Ratings'):
        data = read('PyG-HeterophilousGraphDataset', name, tmp_path)
        assert data.x.dtype == torch.float32
        assert data.edge_index.tolist() == [[0, 1, 2, 3], [1, 0, 3, 2]]
