"""OGB's raw layout, on small synthetic files: no OGB graph is small enough for a test."""

from __future__ import annotations

import gzip
import io
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from fake_network import Network
from sources import read

from graphgps_ext.loader.datasets import load_data

NUM_NODES = 6  # node 5 has no edge
EDGES = np.array([[0, 1], [0, 2], [1, 2], [3, 4]])
SPLIT = {'train': [0, 3], 'valid': [1, 5], 'test': [2, 4]}
SPLIT_KIND = {'ogbn_arxiv': 'time', 'ogbn_proteins': 'species', 'ogbn_products': 'sales_ranking'}


def write_csv(path: Path, rows: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [','.join(map(repr, row)) for row in np.atleast_2d(rows).tolist()]
    path.write_bytes(gzip.compress('\n'.join(lines).encode() + b'\n'))


def write_ogb(folder: Path, name: str) -> None:
    """`folder`: the unpacked archive of the data set `name`."""
    rng = np.random.default_rng(0)
    raw = folder / 'raw'
    write_csv(raw / 'edge.csv.gz', EDGES)
    write_csv(raw / 'num-node-list.csv.gz', np.array([[NUM_NODES]]))
    write_csv(raw / 'num-edge-list.csv.gz', np.array([[len(EDGES)]]))
    if name == 'ogbn_proteins':
        write_csv(raw / 'edge-feat.csv.gz', rng.random((len(EDGES), 8)))
        write_csv(raw / 'node-label.csv.gz', rng.integers(0, 2, (NUM_NODES, 112)))
    else:
        write_csv(raw / 'node-feat.csv.gz', rng.normal(size=(NUM_NODES, 4)))
        write_csv(raw / 'node-label.csv.gz', np.arange(NUM_NODES)[:, None] % 3)
    for part, ids in SPLIT.items():
        write_csv(folder / 'split' / SPLIT_KIND[name] / f'{part}.csv.gz', np.array(ids)[:, None])


def archive(folder: Path, name: str, inside: str) -> bytes:
    write_ogb(folder / inside, name)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, 'w') as file:
        for path in sorted(folder.rglob('*.gz')):
            file.write(path, path.relative_to(folder))
    return buffer.getvalue()


def test_arxiv_stays_directed_and_has_the_split_of_ogb(tmp_path: Path) -> None:
    write_ogb(tmp_path / 'OGB' / 'ogbn_arxiv', 'ogbn_arxiv')
    data = read('OGB', 'ogbn-arxiv', tmp_path)
    assert torch.equal(data.edge_index, torch.from_numpy(EDGES.T))
    assert data.x.shape == (NUM_NODES, 4) and data.x.dtype == torch.float32
    assert data.y.tolist() == [0, 1, 2, 0, 1, 2] and data.num_nodes == NUM_NODES
    for mask, part in (('train_mask', 'train'), ('val_mask', 'valid'), ('test_mask', 'test')):
        assert data[mask].nonzero().flatten().tolist() == SPLIT[part]


def test_products_come_with_both_directions(tmp_path: Path) -> None:
    write_ogb(tmp_path / 'OGB' / 'ogbn_products', 'ogbn_products')
    data = read('OGB', 'OGBN_products', tmp_path)
    both = {tuple(edge) for edge in EDGES.tolist()} | {(b, a) for a, b in EDGES.tolist()}
    assert set(map(tuple, data.edge_index.t().tolist())) == both


def test_proteins_take_the_mean_of_their_edges_as_features(tmp_path: Path) -> None:
    write_ogb(tmp_path / 'OGB' / 'ogbn_proteins', 'ogbn_proteins')
    data = read('OGB', 'ogbn-proteins', tmp_path)
    edge_features = np.random.default_rng(0).random((len(EDGES), 8))
    for node in range(NUM_NODES):
        incident = [feature for edge, feature in zip(EDGES, edge_features, strict=True) if node in edge]
        expected = np.mean(incident, axis=0) if incident else np.zeros(8)
        np.testing.assert_allclose(data.x[node].numpy(), expected, rtol=1e-6)
    assert data.y.shape == (NUM_NODES, 112) and data.y.dtype == torch.float32
    assert data.edge_index.shape == (2, 8) and data.edge_attr.shape == (8, 8)
    for (source, target), feature in zip(data.edge_index.t().tolist(), data.edge_attr, strict=True):
        row = [sorted(edge) for edge in EDGES.tolist()].index(sorted((source, target)))
        np.testing.assert_allclose(feature.numpy(), edge_features[row], rtol=1e-6)


def test_ogb_is_imported_without_its_version_check(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        load_data('OGB', 'ogbn-arxiv', tmp_path)
    assert sys.modules['ogb.version'].check_outdated is None
    assert 'outdated' not in sys.modules


def test_missing_data_without_network_says_which_file_goes_where_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(
        FileNotFoundError,
        match=r'OGB.ogbn_arxiv: raw/edge\.csv\.gz.*split/time/train.*no route.*dataset\.dir',
    ):
        load_data('OGB', 'ogbn-arxiv', tmp_path / 'new')
    assert list(tmp_path.iterdir()) == []


def test_unknown_name_is_answered_with_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"'arxiv' is no data set of OGB; did you mean ogbn-arxiv\?"):
        load_data('OGB', 'arxiv', tmp_path)


def test_incomplete_folder_is_not_overwritten(tmp_path: Path) -> None:
    folder = tmp_path / 'OGB' / 'ogbn_arxiv'
    write_ogb(folder, 'ogbn_arxiv')
    (folder / 'raw' / 'node-feat.csv.gz').unlink()
    with pytest.raises(
        FileNotFoundError, match=r'raw/node-feat\.csv\.gz\. The folder is there but incomplete'
    ):
        load_data('OGB', 'ogbn-arxiv', tmp_path)


def test_download_asks_nothing_and_puts_the_whole_folder_in_place(tmp_path: Path, network: Network) -> None:
    network.files['products.zip'] = archive(tmp_path / 'source', 'ogbn_products', 'products')
    data = read('OGB', 'ogbn-products', tmp_path / 'new')
    assert data.num_nodes == NUM_NODES
    assert [path.name for path in (tmp_path / 'new' / 'OGB').iterdir()] == ['ogbn_products']
    network.files.clear()
    assert load_data('OGB', 'ogbn-products', tmp_path / 'new') is not None


def test_truncated_download_leaves_nothing(tmp_path: Path, network: Network) -> None:
    network.files['arxiv.zip'] = archive(tmp_path / 'source', 'ogbn_arxiv', 'arxiv')[:-100]
    with pytest.raises(FileNotFoundError, match=r'Downloading failed \(File is not a zip file\)'):
        load_data('OGB', 'ogbn-arxiv', tmp_path / 'new')
    assert [path.name for path in tmp_path.iterdir()] == ['source']


def test_truncated_file_is_named_with_its_folder(tmp_path: Path) -> None:
    folder = tmp_path / 'OGB' / 'ogbn_arxiv'
    write_ogb(folder, 'ogbn_arxiv')
    file = folder / 'raw' / 'node-label.csv.gz'
    file.write_bytes(file.read_bytes()[:15])
    with pytest.raises(ValueError, match=r'cannot read the files in .*ogbn_arxiv \(EOFError'):
        load_data('OGB', 'ogbn-arxiv', tmp_path)
