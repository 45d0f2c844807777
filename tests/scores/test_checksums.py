"""Checksums are those that the format describes; a file is hashed once and mapped as it is."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from toy_store import checksum, rewrite, text_checksum

from graphgps_ext import fingerprints, scores
from graphgps_ext.errors import DataError
from graphgps_ext.scores import store


def test_checksums_are_those_of_the_description(saved):
    content = json.loads((saved / 'manifest.json').read_text())
    assert content['checksums'] == {file.name: checksum(np.load(file)) for file in saved.glob('*.npy')}
    check = content.pop('check')
    assert check == text_checksum(json.dumps(content, sort_keys=True))


def test_a_store_of_another_tool_is_read(saved, layers):
    rewrite(saved, layer_1=np.full(6, 0.5, np.float32), dataset='of somebody else')
    loaded = scores.load(saved)
    assert loaded.manifest.dataset == 'of somebody else'
    assert loaded.layers[1].tolist() == [0.5] * 6 and torch.equal(loaded.layers[2], layers[2])


def test_a_header_of_another_tool_is_read(saved, layers):
    header = b"{'shape':(6,),'fortran_order':False,'descr':'<f4'}".ljust(53) + b'\n'
    content = b'\x93NUMPY\x01\x00' + len(header).to_bytes(2, 'little') + header + layers[1].numpy().tobytes()
    (saved / 'layer_1.npy').write_bytes(content)
    assert torch.equal(scores.load(saved).layers[1], layers[1])
    header = b' ' + header
    content = b'\x93NUMPY\x01\x00' + len(header).to_bytes(2, 'little') + header + layers[1].numpy().tobytes()
    (saved / 'layer_1.npy').write_bytes(content)
    with pytest.raises(DataError, match=r'layer_1\.npy is damaged: its header has 65 bytes'):
        scores.load(saved)


@pytest.mark.parametrize(
    'changes, message',
    [
        (dict(indptr=np.array([0, 4, 2, 3, 6])), r'indptr\.npy needs to ascend from 0 to 6'),
        (dict(indptr=np.array([1, 2, 2, 3, 6])), r'indptr\.npy needs to ascend from 0 to 6'),
        (dict(indptr=np.array([0, 2, 2, 3, 7])), r'indptr\.npy needs to ascend from 0 to 6'),
        (dict(source=np.array([0, 3, 2, 0, 1, 4], np.int32)), r'source\.npy needs ids from 0 to 3'),
        (dict(source=np.array([0, 3, 2, 0, -1, 3], np.int32)), r'source\.npy needs ids from 0 to 3'),
        (dict(edge_type=np.array([2, 0, 2, 0, -1, 2], np.int8)), r'edge_type\.npy needs types from 0 on'),
        (dict(graph_fingerprint='00'), 'is not the one that its manifest names'),
    ],
)
def test_a_graph_that_is_none_is_refused_though_its_checksums_are_right(saved, changes, message):
    rewrite(saved, **changes)
    with pytest.raises(DataError, match=rf'{saved}.*{message}.*run stage 1 again'):
        scores.load(saved)


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """The arrays that are hashed, with a memory of its own that takes files of this moment, too."""
    monkeypatch.setenv('GRAPHGPS_EXT_CACHE', str(tmp_path / 'cache'))
    monkeypatch.setattr(fingerprints, '_SETTLED_SECONDS', -60.0)
    found: list[str] = []
    real: Callable[..., str] = store.fingerprint

    def fingerprint(*parts: Any) -> str:
        found.extend(Path(part.filename).name for part in parts if isinstance(part, np.memmap))
        return real(*parts)

    monkeypatch.setattr(store, 'fingerprint', fingerprint)
    return found


def test_a_file_is_hashed_once(saved, hashed):
    scores.load(saved)
    assert sorted(hashed) == sorted(file.name for file in saved.glob('*.npy'))
    scores.load(saved)
    scores.verify(saved)
    assert len(hashed) == 6
    scores.load(saved, hash_again=True)
    scores.verify(saved, hash_again=True)
    assert len(hashed) == 18


def test_a_file_that_has_changed_is_hashed_again(saved, hashed):
    scores.load(saved)
    time.sleep(0.01)  # a tick of the file system's clock
    with (saved / 'layer_0.npy').open('r+b') as file:
        file.seek(-1, 2)
        file.write(b'\x01')
    with pytest.raises(DataError, match=r'layer_0\.npy is damaged'):
        scores.verify(saved)


def test_what_rots_on_the_disk_is_found_by_hashing_again(saved, hashed, monkeypatch):
    monkeypatch.setattr(fingerprints, '_state', lambda file: (str(file), 1, 2, 3, 4))  # as if untouched
    scores.load(saved)
    np.save(saved / 'layer_0.npy', np.full(6, 0.5, np.float32))
    scores.verify(saved)
    for read in (scores.load, scores.verify):
        with pytest.raises(DataError, match=r'layer_0\.npy is damaged'):
            read(saved, hash_again=True)


def test_mapped_scores_stay_when_others_are_written_in_their_place(saved, graph, layers, manifest):
    loaded = scores.load(saved)
    scores.save(saved, graph, layers[::-1], manifest, overwrite=True)
    assert torch.equal(loaded.layers[0], layers[0])
    assert torch.equal(scores.load(saved).layers[0], layers[2])
