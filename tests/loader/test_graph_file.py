"""A user's own graph: what is read, and every message for what is not."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sources import read
from torch_geometric.data import Data

from graphgps_ext.loader.datasets import load_data, load_file
from graphgps_ext.loader.datasets.check import checked

NAN = float('nan')


def graph(**changes: Any) -> dict[str, Any]:
    """A correct graph of four nodes; a change to None takes the key away."""
    arrays: dict[str, Any] = {
        'edge_index': [[0, 1, 2], [1, 2, 3]],
        'x': [[0.5, 1.0], [1.5, 2.0], [2.5, 3.0], [3.5, 4.0]],
        'y': [0, 1, -1, 1],
    }
    arrays.update(changes)
    return {key: np.array(value) for key, value in arrays.items() if value is not None}


def write(folder: Path, arrays: dict[str, Any], suffix: str = '.npz') -> Path:
    path = folder / f'graph{suffix}'
    if suffix == '.npz':
        np.savez(path, **arrays)
    else:
        torch.save({key: torch.from_numpy(value) for key, value in arrays.items()}, path)
    return path


@pytest.mark.parametrize('suffix', ['.npz', '.pt'])
def test_graph_is_read_from_either_kind_of_file(tmp_path: Path, suffix: str) -> None:
    masks = {'train_mask': [1, 0, 0, 0], 'val_mask': [0, 1, 0, 0], 'test_mask': [0, 0, 0, 1]}
    path = write(tmp_path, graph(**masks, edge_attr=[[1], [2], [3]]), suffix)
    data = read('file', 'mine', 'unused', path=path)
    assert data.x.dtype == data.edge_attr.dtype == torch.float32 and data.x[3].tolist() == [3.5, 4.0]
    assert data.y.dtype == data.edge_index.dtype == torch.int64 and data.y.tolist() == [0, 1, -1, 1]
    assert data.edge_index.tolist() == [[0, 1, 2], [1, 2, 3]] and data.edge_attr.tolist() == [[1], [2], [3]]
    assert data.train_mask.tolist() == [True, False, False, False]


def test_pyg_data_is_read_from_a_pt_file(tmp_path: Path) -> None:
    content = Data(**{key: torch.from_numpy(value) for key, value in graph().items()})
    torch.save(content, tmp_path / 'graph.pt')
    allowed = set(torch.serialization.get_safe_globals())
    data = load_file(tmp_path / 'graph.pt')
    assert data.y.tolist() == [0, 1, -1, 1] and data.x.dtype == torch.float32
    assert set(torch.serialization.get_safe_globals()) == allowed


def test_several_binary_tasks_and_several_splits_are_read(tmp_path: Path) -> None:
    masks = {key: [[1, 0], [0, 1], [0, 0], [0, 0]] for key in ('train_mask', 'val_mask', 'test_mask')}
    data = load_file(write(tmp_path, graph(y=[[0, 1], [1, NAN], [0, 0], [NAN, 1]], **masks)))
    assert data.y.shape == (4, 2) and data.y.dtype == torch.float32 and bool(data.y[1, 1].isnan())
    assert data.train_mask.shape == (4, 2) and data.train_mask.dtype == torch.bool


def test_whole_float_labels_are_classes_and_nan_is_no_label(tmp_path: Path) -> None:
    data = load_file(write(tmp_path, graph(y=[0.0, 1.0, NAN, 1.0])))
    assert data.y.tolist() == [0, 1, -1, 1] and data.y.dtype == torch.int64


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'x': None}, r'needs the keys edge_index, x, y .* missing: x, unknown: none'),
        ({'train_masks': [1] * 4}, r'may have train_mask, .*edge_attr; missing: none, unknown: train_masks'),
        ({'train_mask': [1] * 4}, r'all of train_mask, val_mask, test_mask or none, got only train_mask'),
        ({'edge_index': [[0, 1], [1, 4]]}, r'node ids in 0\.\.3 \(x has 4 rows\), got 0\.\.4'),
        ({'edge_index': [[0, -1], [1, 2]]}, r'node ids in 0\.\.3 .*got -1\.\.2'),
        ({'edge_index': [[0, 1, 2]]}, r'edge_index needs shape \[2, E\] and integers, got \[1, 3\]'),
        ({'edge_index': [[0, 1], [1, 2], [2, 3]]}, r'edge_index needs shape .*got \[3, 2\] torch\.int64'),
        ({'edge_index': [[0.0], [1.0]]}, r'edge_index needs .*got \[2, 1\] torch\.float64'),
        ({'x': [1.0, 2.0, 3.0, 4.0]}, r'x needs shape \[N, F\] and something in it, got \[4\]'),
        ({'x': [[NAN, 1], [1, 1], [float('inf'), 1], [1, 1]]}, r'x holds NaN or infinite values in 2 of 4'),
        ({'y': [0, 1, 1]}, r'y needs shape \[4\] or \[4, tasks\] \(x has 4 rows\), got \[3\]'),
        ({'y': [0, 1, -2, 1]}, r'y needs classes from 0, or -1 for no label, got -2'),
        ({'y': [0.0, 0.5, 1.0, 1.0]}, r'y \[N\] needs whole numbers \(class ids\), got fractions'),
        ({'y': [1, 1, -1, 1]}, r'y needs at least two classes, got \[1\]'),
        ({'y': [0, 3, -1, 5]}, r'without gaps, but of 0\.\.5 no node has 1, 2, 4; renumber them with numpy'),
        ({'y': [[0, 2], [1, 1], [0, 0], [0, 1]]}, r'y \[N, tasks\] needs 0, 1 or NaN'),
        ({'edge_attr': [[1.0], [2.0]]}, r'edge_attr needs shape \[3, D\] .*got \[2, 1\]'),
        ({'edge_attr': [1.0, 2.0, 3.0]}, r'edge_attr needs shape \[3, D\] .*got \[3\]'),
        ({'edge_attr': [[1.0], [NAN], [3.0]]}, r'edge_attr holds NaN'),
        (
            {'train_mask': [1] * 4, 'val_mask': [1] * 4, 'test_mask': [1] * 3},
            r"masks need shape \[4\] or \[4, S\], got \{.*'test_mask': \[3\]\}",
        ),
        ({'x': [['a', 'b']] * 4}, r'x needs real numbers, got an array of <U1; write it with numpy\.savez'),
        ({'x': [[object()]] * 4}, r'x needs real numbers, got an array of Python objects'),
    ],
)
def test_bad_content_is_named(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        load_file(write(tmp_path, graph(**changes)))


@pytest.mark.parametrize('suffix', ['.npz', '.pt'])
def test_truncated_file_is_refused_with_the_way_to_write_one(tmp_path: Path, suffix: str) -> None:
    path = write(tmp_path, graph(x=np.ones((4, 500))), suffix)
    path.write_bytes(path.read_bytes()[:1500])
    with pytest.raises(
        ValueError, match=r'cannot read .*graph.*: it is truncated.*numpy\.savez\(path, edge_index='
    ):
        load_file(path)


class Command:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ('executed',)


def test_nothing_in_a_pt_file_is_executed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({'x': Command()}, 'graph.pt')
    with pytest.raises(ValueError, match=r'holds more than tensors .*torch\.save\(\{"edge_index"'):
        load_file('graph.pt')
    assert not Path('executed').exists()


def test_pt_file_with_something_else_is_named(tmp_path: Path) -> None:
    torch.save([torch.zeros(2)], tmp_path / 'graph.pt')
    with pytest.raises(ValueError, match=r'needs a dict of tensors or a PyG Data, got list'):
        load_file(tmp_path / 'graph.pt')
    torch.save({'edge_index': [[0], [1]], 'x': 1, 'y': 2}, tmp_path / 'graph.pt')
    with pytest.raises(ValueError, match=r'edge_index needs a tensor, got list'):
        load_file(tmp_path / 'graph.pt')


def test_missing_or_misnamed_file_names_the_key(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r'dataset\.path, but there is no file .*absent\.npz'):
        load_file(tmp_path / 'absent.npz')
    with pytest.raises(FileNotFoundError, match=r"dataset\.path, but there is no file '\.'"):
        load_data('file', '', tmp_path, path='')
    (tmp_path / 'graph.csv').touch()
    with pytest.raises(ValueError, match=r'dataset\.path must end in \.npz or \.pt, got graph\.csv'):
        load_file(tmp_path / 'graph.csv')


@pytest.mark.filterwarnings('ignore:Sparse CSR tensor support is in beta')
def test_sparse_and_half_precision_features_become_dense_float32() -> None:
    dense = torch.eye(4, 3)
    for x in (dense.to_sparse(), dense.to_sparse_csr(), dense.half(), dense.bool()):
        data = checked(Data(x=x, y=torch.tensor([0, 1, 0, 1]), edge_index=torch.zeros(2, 0).int()), 'here')
        assert data.x.layout == torch.strided and data.x.dtype == torch.float32
        assert torch.equal(data.x, dense)
