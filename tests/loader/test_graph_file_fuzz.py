"""Graph files with random damage: the same graph, another one where no checksum tells, or one clear error."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
import torch
from torch_geometric.data import Data

from graphgps_ext.errors import UserError
from graphgps_ext.loader.datasets import load_file

NUM_CASES = 60
GRAPH: dict[str, Any] = {
    'edge_index': np.arange(60).reshape(2, 30) % 20,
    'x': np.arange(60.0).reshape(20, 3),
    'y': np.arange(20) % 3,
    'train_mask': np.arange(20) < 8,
    'val_mask': (np.arange(20) >= 8) & (np.arange(20) < 14),
    'test_mask': np.arange(20) >= 14,
    'edge_attr': np.ones((30, 2), dtype=np.float32),
}


def written(write: Callable[..., Any], **options: Any) -> bytes:
    buffer = io.BytesIO()
    write(buffer, **options)
    return buffer.getvalue()


TENSORS = {key: torch.from_numpy(value) for key, value in GRAPH.items()}
FILES: dict[str, tuple[str, bytes]] = {
    'npz': ('.npz', written(np.savez, **GRAPH)),
    'compressed npz': ('.npz', written(np.savez_compressed, **GRAPH)),
    'pt': ('.pt', written(lambda buffer: torch.save(TENSORS, buffer))),
    'pt of a Data': ('.pt', written(lambda buffer: torch.save(Data(**TENSORS), buffer))),
    'old pt': (
        '.pt',
        written(lambda buffer: torch.save(TENSORS, buffer, _use_new_zipfile_serialization=False)),
    ),
}


def damaged(content: bytes, random: Random) -> bytes:
    """One to four changes: a bit, a byte, a cut, a block of zeros, two blocks that change places."""
    data = bytearray(content)
    for _ in range(random.choice((1, 1, 2, 4))):
        if not data:
            break
        at = random.randrange(len(data))
        size = random.choice((1, 2, 8, 64, 512))
        match random.randrange(6):
            case 0:
                data[at] ^= 1 << random.randrange(8)
            case 1:
                data[at] = random.choice((0, 1, 127, 128, 255, random.randrange(256)))
            case 2:
                del data[at : at + size]
            case 3:
                data[at : at + size] = bytes(len(data[at : at + size]))
            case 4:
                other = random.randrange(len(data))
                block = data[other : other + size]
                data[at : at + len(block)] = block
            case 5:
                del data[at + 1 :]
    return bytes(data)


def sealed(content: bytes, random: Random) -> bytes:
    """The archive with one damaged member and checksums that fit it."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(buffer, 'w') as new:
        names = old.namelist()
        chosen = random.choice(names)
        for name in names:
            member = old.read(name)
            new.writestr(name, damaged(member, random) if name == chosen and member else member)
    return buffer.getvalue()


def read(path: Path, content: bytes) -> Data | None:
    """The graph, or None for a message of one line that names the file."""
    path.write_bytes(content)
    try:
        return load_file(path)
    except UserError as error:
        assert str(path) in str(error) and '\n' not in str(error)
        return None


def assert_valid(data: Data) -> None:
    num_nodes = data.x.shape[0]
    assert data.x.dtype == torch.float32 and data.x.isfinite().all()
    assert data.edge_index.dtype == torch.int64 and data.edge_index.shape[0] == 2
    assert data.edge_index.min() >= 0 and data.edge_index.max() < num_nodes
    if data.y.dim() == 1:
        assert data.y.dtype == torch.int64 and data.y.min() >= -1 and data.y.unique().numel() > 1
    assert all(
        data[key].dtype == torch.bool for key in ('train_mask', 'val_mask', 'test_mask') if key in data
    )


@pytest.mark.filterwarnings('ignore')  # of libraries, on what is then refused
@pytest.mark.parametrize('kind', FILES)
def test_damage_is_seen_wherever_there_are_checksums(tmp_path: Path, kind: str) -> None:
    suffix, content = FILES[kind]
    whole = read(tmp_path / f'whole{suffix}', content)
    assert whole is not None
    random, found = Random(kind), 0
    for _ in range(NUM_CASES):
        data = read(tmp_path / f'graph{suffix}', damaged(content, random))
        if data is None:
            found += 1
        elif kind == 'old pt':
            assert_valid(data)
        else:
            assert data.keys() == whole.keys() and all(
                torch.equal(data[key], whole[key]) for key in data.keys()
            )
    assert found > NUM_CASES / 4


@pytest.mark.filterwarnings('ignore')  # of libraries, on what is then refused
@pytest.mark.parametrize('kind', [kind for kind in FILES if kind != 'old pt'])
def test_what_has_checksums_that_fit_is_a_graph_or_refused(tmp_path: Path, kind: str) -> None:
    suffix, content = FILES[kind]
    random, found = Random(kind), 0
    for _ in range(NUM_CASES):
        data = read(tmp_path / f'graph{suffix}', sealed(content, random))
        if data is None:
            found += 1
        else:
            assert_valid(data)
    assert found > NUM_CASES / 4
