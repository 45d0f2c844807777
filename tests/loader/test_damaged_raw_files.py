"""Raw files of published data sets that are damaged or hostile: one clear error, and nothing in them runs."""

from __future__ import annotations

import os
import pickle
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.io import loadmat, savemat
from scipy.sparse import csc_matrix, csr_matrix
from sources import read
from torch_geometric.io import read_planetoid_data

from graphgps_ext.errors import DataError
from graphgps_ext.loader.datasets.unpickle import read_pickle


class Command:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ('executed',)


@pytest.fixture(autouse=True)
def nothing_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    yield
    assert not (tmp_path / 'executed').exists()


def copied(real_datasets: Path, tmp_path: Path, folder: str) -> Path:
    shutil.copytree(real_datasets / folder, tmp_path / folder)
    return tmp_path / folder


@pytest.mark.parametrize(
    ('name', 'split'), [('Cora', 'public'), ('Cora', 'geom-gcn'), ('CiteSeer', 'public')]
)
def test_planetoid_is_what_pyg_reads(real_datasets: Path, name: str, split: str) -> None:
    data = read('PyG-Planetoid', name, real_datasets, planetoid_split=split)
    expected = read_planetoid_data(str(real_datasets / 'Planetoid' / name / 'raw'), name)
    keys = ('x', 'y', 'edge_index', *(('train_mask', 'val_mask', 'test_mask') if split == 'public' else ()))
    for key in keys:
        assert data[key].dtype == expected[key].dtype and torch.equal(data[key], expected[key])


@pytest.mark.parametrize('part', ['x', 'tx', 'allx', 'y', 'ty', 'ally', 'graph'])
def test_planetoid_file_that_names_a_command_is_refused(
    real_datasets: Path, tmp_path: Path, part: str
) -> None:
    raw = copied(real_datasets, tmp_path, 'Planetoid/Cora/raw')
    (raw / f'ind.cora.{part}').write_bytes(pickle.dumps(Command()))
    if part == 'x':  # which is a part of allx, and not read
        read('PyG-Planetoid', 'cora', tmp_path)
        return
    with pytest.raises(DataError, match=r'cannot read the raw files in .*Cora.raw .*mkdir has no place'):
        read('PyG-Planetoid', 'cora', tmp_path)


@pytest.mark.parametrize('protocol', range(pickle.HIGHEST_PROTOCOL + 1))
def test_pickles_of_every_protocol_are_read_or_refused(tmp_path: Path, protocol: int) -> None:
    dense = np.eye(3, 4, dtype=np.float32)
    path = tmp_path / 'some.pickle'
    for value in (dense, csr_matrix(dense)) if protocol >= 2 else (dense,):
        path.write_bytes(pickle.dumps(value, protocol))
        assert np.array_equal(read_pickle(path), dense)
    path.write_bytes(pickle.dumps([dense, Command()], protocol))
    with pytest.raises(pickle.UnpicklingError, match='mkdir has no place in a file of arrays'):
        read_pickle(path)


def test_a_pickle_changes_no_class_of_scipy(tmp_path: Path) -> None:
    # BUILD with a second state sets attributes, here those of the class itself.
    setter = b'cscipy.sparse._csr\ncsr_matrix\n(N}Vtoarray\ncbuiltins\nlist\nstb.'
    path = tmp_path / 'some.pickle'
    path.write_bytes(setter)
    assert read_pickle(path).toarray is list
    path.write_bytes(pickle.dumps(csr_matrix(np.eye(2))))
    assert read_pickle(path).tolist() == [[1, 0], [0, 1]] and csr_matrix.toarray is not list


def test_sparse_matrix_with_an_index_out_of_range_is_refused(real_datasets: Path, tmp_path: Path) -> None:
    raw = copied(real_datasets, tmp_path, 'Planetoid/Cora/raw')
    matrix = csr_matrix(np.eye(1708, 1433, dtype=np.float32))
    matrix.indices[0] = 10_000_000
    (raw / 'ind.cora.allx').write_bytes(pickle.dumps(matrix, 2))
    with pytest.raises(DataError, match=r'Cora.raw \(ValueError'):
        read('PyG-Planetoid', 'cora', tmp_path)


@pytest.mark.parametrize('key', ['attr_indices', 'adj_indices', 'attr_indptr', 'labels', 'attr_shape'])
@pytest.mark.parametrize('format', ['PyG-Amazon', 'PyG-Coauthor'])
def test_matrices_of_amazon_and_coauthor_are_checked(tmp_path: Path, format: str, key: str) -> None:
    eye = csr_matrix(np.eye(4, dtype=np.float32))
    arrays: dict[str, Any] = {'labels': np.arange(4) % 2}
    for name in ('attr', 'adj'):
        for part in ('data', 'indices', 'indptr'):
            arrays[f'{name}_{part}'] = getattr(eye, part)
        arrays[f'{name}_shape'] = np.array([4, 4])
    folder, name = {'PyG-Amazon': ('Amazon/Photo', 'photo'), 'PyG-Coauthor': ('Coauthor/CS', 'cs')}[format]
    file = {'photo': 'amazon_electronics_photo.npz', 'cs': 'ms_academic_cs.npz'}[name]
    path = tmp_path / folder / 'raw' / file
    path.parent.mkdir(parents=True)
    np.savez(path, **arrays)
    assert read(format, name, tmp_path).x.shape == (4, 4)
    damage = np.array([10**7] * 4) if key != 'attr_shape' else np.array([10**8, 10**8])
    np.savez(path, **{**arrays, key: np.array([Command()]) if key == 'labels' else damage})
    with pytest.raises(DataError, match=r'cannot read the raw files in .*raw \((Value|Memory)Error'):
        read(format, name, tmp_path)


def write_penn94(root: Path, splits: list[Any], row: int = 1) -> None:
    folder = root / 'LINKXDataset' / 'penn94' / 'raw'
    folder.mkdir(parents=True)
    matrix = csc_matrix(([1.0, 1.0], ([0, 1], [1, 0])), shape=(6, 6))
    matrix.indices[-1] = row
    info = np.stack([np.arange(6) % 2, np.arange(6) % 3, np.arange(6)], axis=1)
    savemat(folder / 'Penn94.mat', {'A': matrix, 'local_info': info})
    array = np.empty(len(splits), dtype=object)
    array[:] = splits
    np.save(folder / 'fb100-Penn94-splits.npy', array, allow_pickle=True)
    (folder / 'data.mat').write_bytes((folder / 'Penn94.mat').read_bytes())


def test_penn94_has_its_splits_and_none_that_runs(tmp_path: Path) -> None:
    splits = [{'train': np.array([1, 2]), 'valid': np.array([4]), 'test': np.array([5])}] * 2
    write_penn94(tmp_path / 'good', splits)
    data = read('PyG-LINKXDataset', 'penn94', tmp_path / 'good')
    assert data.train_mask.shape == (6, 2) and data.train_mask[:, 1].nonzero().flatten().tolist() == [1, 2]
    assert data.y.tolist() == [-1, 0, 1, -1, 0, 1]
    write_penn94(tmp_path / 'bad', [{'train': Command()}])
    with pytest.raises(DataError, match='mkdir has no place'):
        read('PyG-LINKXDataset', 'penn94', tmp_path / 'bad')
    write_penn94(tmp_path / 'far', splits, row=10**8)
    with pytest.raises(DataError, match=r'penn94.raw \(ValueError'):
        read('PyG-LINKXDataset', 'penn94', tmp_path / 'far')


CUTS: dict[str, Callable[[bytes], bytes]] = {
    'empty': lambda content: b'',
    'text': lambda content: b'404: Not Found\n',
    'half': lambda content: content[: len(content) // 2],
    'flipped': lambda content: content[:-200] + bytes(255 - byte for byte in content[-200:]),
}


@pytest.mark.filterwarnings('ignore:unclosed file:ResourceWarning')  # numpy's, on a torn .npz
@pytest.mark.filterwarnings('ignore::pytest.PytestUnraisableExceptionWarning')
@pytest.mark.parametrize('cut', CUTS)
@pytest.mark.parametrize(
    ('folder', 'format', 'name', 'file'),
    [
        ('Actor/raw', 'PyG-Actor', '', 'out1_node_feature_label.txt'),
        ('Actor/raw', 'PyG-Actor', '', 'film_split_0.6_0.2_3.npz'),
        ('LINKXDataset/reed98/raw', 'PyG-LINKXDataset', 'reed98', 'data.mat'),
        ('Planetoid/Cora/raw', 'PyG-Planetoid', 'cora', 'ind.cora.allx'),
        ('Planetoid/Cora/raw', 'PyG-Planetoid', 'cora', 'ind.cora.graph'),
        ('Planetoid/Cora/raw', 'PyG-Planetoid', 'cora', 'ind.cora.test.index'),
    ],
)
def test_damaged_raw_file_is_named(
    real_datasets: Path, tmp_path: Path, folder: str, format: str, name: str, file: str, cut: str
) -> None:
    path = copied(real_datasets, tmp_path, folder) / file
    path.write_bytes(CUTS[cut](path.read_bytes()))
    with pytest.raises(DataError, match=r'cannot read the raw files in .*or correct dataset\.dir|PyG-'):
        read(format, name, tmp_path)


def test_a_test_node_far_away_takes_no_memory(real_datasets: Path, tmp_path: Path) -> None:
    raw = copied(real_datasets, tmp_path, 'Planetoid/Cora/raw')
    with (raw / 'ind.cora.test.index').open('a') as file:
        file.write('1000000\n')
    with pytest.raises(DataError, match=r'test nodes come after the 1708 others, got 1708\.\.1000000'):
        read('PyG-Planetoid', 'cora', tmp_path)


def test_a_pipe_in_place_of_a_raw_file_is_not_waited_for(real_datasets: Path, tmp_path: Path) -> None:
    raw = copied(real_datasets, tmp_path, 'LINKXDataset/reed98/raw')
    (raw / 'data.mat').unlink()
    os.mkfifo(raw / 'data.mat')
    with pytest.raises(FileNotFoundError, match=r'missing in .*reed98.raw: data\.mat'):
        read('PyG-LINKXDataset', 'reed98', tmp_path)


def test_sparse_matrix_of_a_mat_file_stays_as_pyg_reads_it(real_datasets: Path) -> None:
    matrix = loadmat(real_datasets / 'LINKXDataset' / 'reed98' / 'raw' / 'data.mat')['A']
    assert read('PyG-LINKXDataset', 'reed98', real_datasets).num_edges == matrix.nnz
