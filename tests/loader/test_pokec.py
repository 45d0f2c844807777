"""Pokec's two files, synthetic ones in the published layout."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.io import savemat
from sources import read

from graphgps_ext.loader.datasets import load_data
from graphgps_ext.transform.split import fixed_split, labeled_nodes

LABELS = [0, 1, -1, 1, 0, 1, 0, 1]


def write_pokec(root: Path, splits: list[Any]) -> Path:
    folder = root / 'Pokec' / 'raw'
    folder.mkdir(parents=True)
    arrays = {
        'edge_index': np.array([[0, 1, 7], [1, 2, 0]], dtype=np.int32),
        'node_feat': np.arange(24.0).reshape(8, 3),
        'label': np.array([LABELS]),
        'num_nodes': 8,
    }
    savemat(folder / 'pokec.mat', arrays)
    object_array = np.empty(len(splits), dtype=object)
    object_array[:] = splits
    np.save(folder / 'pokec-splits.npy', object_array, allow_pickle=True)
    return folder


@pytest.mark.parametrize('kind', [np.array, torch.tensor])
def test_pokec_is_read_with_its_splits_as_arrays_or_tensors(tmp_path: Path, kind: Any) -> None:
    first = {'train': kind([0, 1, 3]), 'valid': kind([4, 5]), 'test': kind([6, 7])}
    second = {'train': kind([6, 7]), 'valid': kind([0, 1]), 'test': kind([3, 4])}
    write_pokec(tmp_path, [first, second])
    data = read('Pokec', 'pokec', tmp_path)
    assert data.x.dtype == torch.float32 and data.x[7].tolist() == [21.0, 22.0, 23.0]
    assert data.edge_index.dtype == torch.int64 and data.edge_index.tolist() == [[0, 1, 7], [1, 2, 0]]
    assert data.y.tolist() == LABELS
    split = fixed_split(data.train_mask, data.val_mask, data.test_mask, 1, labeled_nodes(data.y))
    assert split.train.nonzero().flatten().tolist() == [6, 7]
    assert split.test.nonzero().flatten().tolist() == [3, 4]


def test_missing_files_are_named_with_where_to_get_them(tmp_path: Path) -> None:
    with pytest.raises(
        FileNotFoundError, match=r'missing in .*Pokec.raw: pokec\.mat, pokec-splits\.npy.*CUAI.*dataset\.dir'
    ):
        load_data('Pokec', '', tmp_path)


class Command:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ('executed',)


def test_splits_that_name_a_command_are_refused_unexecuted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_pokec(tmp_path, [{'train': Command()}])
    with pytest.raises(ValueError, match=r'cannot read .*pokec-splits\.npy .*mkdir has no place'):
        load_data('Pokec', '', tmp_path)
    assert not (tmp_path / 'executed').exists()


@pytest.mark.parametrize('name', ['pokec.mat', 'pokec-splits.npy'])
def test_truncated_file_is_named(tmp_path: Path, name: str) -> None:
    ids = np.arange(100) % 8
    file = write_pokec(tmp_path, [{'train': ids, 'valid': ids, 'test': ids}]) / name
    file.write_bytes(file.read_bytes()[:300])
    with pytest.raises(ValueError, match=rf'cannot read .*{name} '):
        load_data('Pokec', '', tmp_path)
