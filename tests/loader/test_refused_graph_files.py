"""What is no graph, in every form that a file and its path may have: refused by name, and nothing runs."""

from __future__ import annotations

import os
import pickle
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch_geometric.data import Data, HeteroData

from graphgps_ext.errors import ConfigError, DataError, MissingFileError
from graphgps_ext.loader.datasets import file, load_file

NAN, INF = float('nan'), float('inf')
ARRAYS: dict[str, Any] = {
    'edge_index': np.array([[0, 1, 2], [1, 2, 3]]),
    'x': np.arange(8.0).reshape(4, 2),
    'y': np.array([0, 1, -1, 1]),
}
TENSORS = {key: torch.from_numpy(value) for key, value in ARRAYS.items()}
MASKS: dict[str, Any] = {'train_mask': [1, 0, 0, 0], 'val_mask': [0, 1, 0, 0], 'test_mask': [0, 0, 0, 1]}
LONG = np.array([2**63 + 1], dtype=np.uint64)


def npz(folder: Path, **changes: Any) -> Path:
    np.savez(folder / 'graph.npz', **{**ARRAYS, **changes})
    return folder / 'graph.npz'


def pt(folder: Path, content: Any) -> Path:
    torch.save(content, folder / 'graph.pt')
    return folder / 'graph.pt'


@pytest.mark.parametrize('dtype', ['u1', 'u2', 'u4', 'u8', 'i1', 'i2', '>i4', '>i8', '>u4'])
def test_ids_and_classes_of_any_integer_dtype_are_read(tmp_path: Path, dtype: str) -> None:
    y = np.array([0, 1, 0, 1])
    data = load_file(npz(tmp_path, edge_index=ARRAYS['edge_index'].astype(dtype), y=y.astype(dtype)))
    assert data.edge_index.tolist() == ARRAYS['edge_index'].tolist() and data.y.tolist() == y.tolist()
    assert data.edge_index.dtype == data.y.dtype == torch.int64


@pytest.mark.parametrize('dtype', ['?', 'u1', 'u8', '>i2', 'f2', '>f4', '>f8', 'g'])
def test_features_of_any_real_dtype_and_order_are_read(tmp_path: Path, dtype: str) -> None:
    x = np.asfortranarray(np.eye(4, 2).astype(dtype))
    data = load_file(npz(tmp_path, x=x, edge_attr=x[:3]))
    assert data.x.dtype == data.edge_attr.dtype == torch.float32 and data.x.is_contiguous()
    assert data.x.tolist() == np.eye(4, 2).tolist()


def test_tensors_are_read_without_what_hangs_on_them(tmp_path: Path) -> None:
    x = torch.randn(4, 2, dtype=torch.complex64)
    for value in (x.conj().imag, x.real.clone().requires_grad_(), torch.randn(100, 100)[10:14, ::50]):
        data = load_file(pt(tmp_path, {**TENSORS, 'x': value}))
        assert torch.equal(data.x, value.detach()) and not data.x.requires_grad and not data.x.is_neg()


@pytest.mark.parametrize('key', ['edge_index', 'x', 'y'])
@pytest.mark.parametrize(
    ('dtype', 'message'),
    [
        ('c8', 'complex64'),
        ('O', 'Python objects'),
        ('U3', '<U3'),
        ('M8[s]', r'datetime64\[s\]'),
        ('V8', r'\|V8'),
        ([('a', 'f4')], 'records'),
    ],
)
def test_arrays_of_no_numbers_are_named(tmp_path: Path, key: str, dtype: Any, message: str) -> None:
    path = npz(tmp_path, **{key: np.zeros(ARRAYS[key].shape, dtype=dtype)})
    with pytest.raises(DataError, match=rf'graph\.npz: {key} needs real numbers, got an array of {message}'):
        load_file(path)


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (
            {'edge_index': np.zeros((2, 3), bool)},
            r'edge_index needs shape \[2, E\] and integers, .* torch\.bool',
        ),
        ({'edge_index': LONG[:, None].repeat(2, 0)}, r'node ids in 0\.\.3 .*got 9223372036854775809\.\.'),
        ({'edge_index': np.array(1)}, r'edge_index needs shape \[2, E\] and integers, got \[\]'),
        ({'x': np.zeros((4, 0))}, r'x needs shape \[N, F\] and something in it, got \[4, 0\]'),
        ({'x': np.zeros((0, 4))}, r'x needs shape \[N, F\] and something in it, got \[0, 4\]'),
        ({'x': np.full((4, 2), 1e300)}, r'x holds values above 3\.4e38, the largest of float32'),
        (
            {'y': np.array([0, 1, 0, 10**9])},
            r'of 0\.\.1000000000 no node has 2, 3, 4, 5, 6, \.\.\.; renumber',
        ),
        ({'y': np.array([0, 1, 1, 2**62])}, r'of 0\.\.4611686018427387904 no node has 2'),
        ({'y': LONG.repeat(4) * np.arange(4).astype('u8')}, r'y needs classes from 0 without gaps'),
        ({'y': np.array([0, 1, 1e30, 1])}, r'y needs classes from 0 without gaps'),
        ({'y': np.array([0, 1, INF, 1])}, r'y \[N\] needs whole numbers \(class ids\), got infinite values'),
        ({'y': np.array([NAN] * 4)}, r'y needs at least two classes, got \[\]'),
        ({'y': np.array([[0, INF]] * 4)}, r'y \[N, tasks\] needs 0, 1 or NaN'),
        ({'y': np.zeros((4, 0))}, r'y needs shape \[4\] or \[4, tasks\] .*got \[4, 0\]'),
        ({**MASKS, 'val_mask': [0, 2, 0, 0]}, r'val_mask needs bool or 0 and 1, got other values'),
        ({**MASKS, 'val_mask': [0, NAN, 0, 0]}, r'val_mask needs bool or 0 and 1, got other values'),
        ({**MASKS, 'val_mask': np.ones((4, 2)), 'test_mask': np.ones((4, 3))}, r'one number of columns, at'),
        ({key: np.ones((4, 0)) for key in MASKS}, r'one number of columns, at least 1, got'),
        ({'edge_attr': np.zeros((3, 0))}, r'edge_attr needs shape \[3, D\] .*got \[3, 0\]'),
        (
            {'y': np.array([0, 0.5, 1, 1]), 'edge_index': np.array([[9], [0]])},
            r'0\.\.9; y \[N\] .* fractions',
        ),
    ],
)
def test_values_that_are_no_graph_are_named(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=rf'graph\.npz: .*{message}'):
        load_file(npz(tmp_path, **changes))


@pytest.mark.parametrize(
    'y', [np.eye(4), np.eye(4, dtype=int)[[1, 0, 2, 2]], [[0, 1], [1, 0], [NAN, NAN], [0, 0]]]
)
def test_one_hot_labels_are_named_unless_they_are_meant(tmp_path: Path, y: Any) -> None:
    path = npz(tmp_path, y=np.array(y))
    with pytest.raises(DataError, match=r'one-hot labels of \d classes: store y\.argmax\(1\).*task_type'):
        load_file(path)
    assert load_file(path, multilabel=True).y.shape == np.shape(y)


@pytest.mark.filterwarnings('ignore::UserWarning')  # on what the tests make of tensors
@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (
            lambda: {'x': torch.quantize_per_tensor(torch.ones(4, 2), 0.1, 0, torch.qint8)},
            r'got .*torch\.qint8',
        ),
        (
            lambda: {'x': torch.ones(4, 2, device='meta')},
            r'x needs .* real numbers, got \[4, 2\] without values',
        ),
        (
            lambda: {'x': torch.nested.nested_tensor([torch.ones(2), torch.ones(3)])},
            r'x needs .* a nested one',
        ),
        (lambda: {'x': torch.ones(4, 2).to(torch.float8_e5m2)}, r'x needs .*got \[4, 2\] torch\.float8_e5m2'),
        (lambda: {'y': torch.eye(4).to_sparse()}, r'y needs a dense array, got a sparse one'),
        (lambda: {'edge_index': TENSORS['edge_index'].to_sparse()}, r'edge_index needs a dense array'),
        (lambda: {'x': torch.ones(1, 1).expand(4, 10**9)}, r'its arrays take 16,000 MB, more than 100 times'),
        (
            lambda: {'x': torch.sparse_coo_tensor([[0], [0]], torch.ones(1), (4, 10**12))},
            r'its arrays take 16,000,000 MB',
        ),
        (lambda: {'x': {'inner': torch.ones(1)}}, r'x needs a tensor, got dict'),
        (lambda: {'edge_attr': None}, r'edge_attr needs a tensor, got NoneType'),
        (lambda: {7: torch.ones(1)}, r'unknown: one of int'),
        (lambda: {'bad\n\x1b[31m': torch.ones(1)}, r'unknown: bad\\n\\x1b\[31m'),
        (lambda: {'x': ARRAYS['x']}, r'more than tensors in a dict .*numpy\._core\.multiarray\._reconstruct'),
        (lambda: {'x': torch.nn.Linear(2, 2)}, r'more than tensors in a dict .*namely torch\.nn\..*Linear'),
    ],
)
def test_what_no_tensor_of_a_graph_is_like_is_named(
    tmp_path: Path, change: Callable[[], dict[Any, Any]], message: str
) -> None:
    with pytest.raises(DataError, match=rf'graph\.pt.*{message}'):
        load_file(pt(tmp_path, {**TENSORS, **change()}))


def hetero() -> HeteroData:
    data = HeteroData()
    data['a'].x = torch.ones(2, 2)
    return data


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        (list(TENSORS.values()), r'needs a dict of tensors or a PyG Data, got list'),
        (TENSORS['x'], r'needs a dict of tensors or a PyG Data, got Tensor'),
        (Data(**TENSORS, name='mine'), r'missing: none, unknown: name'),
        (hetero(), r'holds more than tensors in a dict or a PyG Data, namely torch_geometric\.'),
    ],
)
def test_other_objects_are_named(tmp_path: Path, content: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        load_file(pt(tmp_path, content))


class Command:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ('executed',)


def tar(path: Path) -> None:
    with tarfile.open(path, 'w') as archive:
        archive.add(__file__, 'some.py')


@pytest.mark.parametrize('suffix', ['.npz', '.pt'])
@pytest.mark.parametrize(
    ('write', 'message'),
    [
        (lambda path: path.touch(), 'it is empty'),
        (lambda path: path.write_text('a text\n' * 50), 'it is truncated, damaged or no'),
        (lambda path: path.write_bytes(bytes(1000)), 'it is truncated, damaged or no'),
        (lambda path: path.write_bytes(pickle.dumps(Command())), 'it is truncated, damaged or no'),
        (lambda path: path.write_bytes(pickle.dumps(Command(), 2)), 'damaged or no|namely posix.mkdir'),
        (lambda path: zipfile.ZipFile(path, 'w').close(), 'missing: edge_index, x, y|damaged or no .pt'),
        (tar, 'it is truncated, damaged or no'),
        (
            lambda path: torch.jit.save(torch.jit.script(torch.nn.ReLU()), path),
            'damaged or no .pt|missing: edge',
        ),
    ],
)
@pytest.mark.filterwarnings('ignore:.*torch.jit.*:DeprecationWarning')
def test_files_of_another_kind_are_refused_and_nothing_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str, write: Callable[[Path], Any], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path / f'graph{suffix}')
    with pytest.raises(DataError, match=rf'graph\{suffix}: .*({message})') as caught:
        load_file(tmp_path / f'graph{suffix}')
    assert 'weights_only' not in str(caught.value).replace('Cannot use ``weights_only=True``', '')
    assert not (tmp_path / 'executed').exists()


def test_a_key_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    path = npz(tmp_path)
    with zipfile.ZipFile(path, 'a') as archive:
        archive.writestr('x', archive.read('x.npy'))
    with pytest.raises(DataError, match='each key needs to be there once, got edge_index, x, y, x'):
        load_file(path)


@pytest.mark.parametrize('shape', [(10**12,), (4, 10**30), (-2, -4), (4, 3)])
def test_a_header_that_promises_more_than_the_file_holds_is_refused(
    tmp_path: Path, shape: tuple[int, ...]
) -> None:
    path = npz(tmp_path)
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, 'w') as archive, (tmp_path / 'x.npy').open('w+b') as stream:
        np.lib.format.write_array_header_1_0(stream, {'descr': '<f8', 'fortran_order': False, 'shape': shape})
        stream.write(ARRAYS['x'].tobytes())
        stream.seek(0)
        members['x.npy'] = stream.read()
        for name, content in members.items():
            archive.writestr(name, content)
    with pytest.raises(DataError, match=r'x is said to be float64 .*header included: it is damaged'):
        load_file(path)


@pytest.mark.parametrize('suffix', ['.npz', '.pt'])
def test_an_archive_that_unpacks_to_far_more_is_refused_before_it_is_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str
) -> None:
    path = tmp_path / f'graph{suffix}'
    np.savez_compressed(tmp_path / 'graph.npz', **{**ARRAYS, 'x': np.zeros((4, 10**5))})
    (tmp_path / 'graph.npz').rename(path)
    assert suffix == '.pt' or load_file(path).x.shape == (4, 10**5)
    monkeypatch.setattr(file, '_SMALL', 10**6)
    with pytest.raises(DataError, match=r'its arrays take 3 MB, more than 100 times the size of the file'):
        load_file(path)


@pytest.mark.parametrize(
    ('make', 'reason'),
    [
        (lambda path: path.symlink_to(path), 'Too many levels of symbolic links'),
        (lambda path: path.symlink_to('/nowhere'), 'No such file'),
        (lambda path: path.symlink_to('/dev/zero'), 'it is no regular file'),
        (lambda path: os.mkfifo(path), 'it is no regular file'),
        (lambda path: path.mkdir(), 'it is a folder'),
    ],
)
@pytest.mark.parametrize('suffix', ['.npz', '.pt'])
def test_what_is_no_file_is_not_opened(
    tmp_path: Path, suffix: str, make: Callable[[Path], Any], reason: str
) -> None:
    make(tmp_path / f'graph{suffix}')
    with pytest.raises(MissingFileError, match=rf'there is no file .*graph\{suffix}.* \({reason}'):
        load_file(tmp_path / f'graph{suffix}')


def test_paths_that_cannot_be_are_refused(tmp_path: Path) -> None:
    for path in ('nul\0.npz', f'{"x" * 300}.npz', str(npz(tmp_path) / 'graph.npz')):
        with pytest.raises(MissingFileError, match='there is no file'):
            load_file(path)


def test_a_file_that_may_not_be_read_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise PermissionError(13, 'Permission denied')

    path = npz(tmp_path)
    monkeypatch.setattr(zipfile, 'ZipFile', refuse)
    with pytest.raises(DataError, match=r'cannot read .*graph\.npz: Permission denied; write it'):
        load_file(path)


def test_the_suffix_says_what_it_is(tmp_path: Path) -> None:
    (tmp_path / 'graph.csv').touch()
    with pytest.raises(ConfigError, match=r'must end in \.npz or \.pt, got graph\.csv'):
        load_file(tmp_path / 'graph.csv')
