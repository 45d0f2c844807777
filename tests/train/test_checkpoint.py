"""Checkpoints that are damaged, hold code or belong to another run are refused, and nothing in them runs."""

from __future__ import annotations

import collections
import os
import random
from pathlib import Path
from typing import Any

import pytest
import torch

from graphgps_ext.errors import DataError, MissingFileError, OtherResultsError, UserError
from graphgps_ext.train.checkpoint import read_checkpoint, write_checkpoint


def content() -> dict[str, Any]:
    model = torch.nn.Sequential(torch.nn.Linear(5, 7), torch.nn.BatchNorm1d(7))
    optimizer = torch.optim.AdamW(model.parameters())
    model(torch.ones(3, 5)).sum().backward()
    optimizer.step()
    # MultiStepLR, GraphGym's `step`, keeps a Counter.
    return {
        'epoch': 3,
        'best': 0.25,
        'state_dict': model.state_dict(),
        'optimizer': optimizer.state_dict(),
        'scheduler': {'milestones': collections.Counter([3, 5]), '_last_lr': [0.1]},
        'stats': {'train': (3, 'abc')},
    }


@pytest.fixture
def path(tmp_path: Path) -> Path:
    write_checkpoint(tmp_path / 'last.ckpt', content(), run='this')
    return tmp_path / 'last.ckpt'


def equal(a: Any, b: Any) -> bool:
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(equal(a[key], b[key]) for key in a)
    return a == b


def test_what_was_written_is_read(path: Path) -> None:
    torch.manual_seed(0)
    wanted = content()
    write_checkpoint(path, wanted, run='this')
    found = read_checkpoint(path, run='this')
    assert equal({key: found[key] for key in wanted}, wanted)


def test_checkpoint_of_another_run_is_refused(path: Path) -> None:
    with pytest.raises(OtherResultsError, match='belongs to another run'):
        read_checkpoint(path, run='that')


def test_checkpoint_of_another_version_is_refused(path: Path) -> None:
    torch.save({'epoch': 3, 'pytorch-lightning_version': '2.6.6'}, path)
    with pytest.raises(DataError, match='another version of graphgps_ext'):
        read_checkpoint(path, run='this')
    torch.save([1, 2], path)
    with pytest.raises(DataError, match='another version of graphgps_ext'):
        read_checkpoint(path, run='this')


class Attack:
    def __init__(self, sentinel: Path) -> None:
        self.sentinel = sentinel

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.sentinel),)


@pytest.mark.parametrize('legacy', [False, True])
def test_objects_in_a_checkpoint_are_named_and_not_run(path: Path, legacy: bool) -> None:
    sentinel = path.with_name('sentinel')
    bad = {**content(), 'hook': Attack(sentinel)}
    torch.save(bad, path, _use_new_zipfile_serialization=not legacy)
    with pytest.raises(DataError, match='damaged' if legacy else r'mkdir\), which is not loaded'):
        read_checkpoint(path, run='this')
    assert not sentinel.exists()


def contains_itself() -> dict[str, Any]:
    value: dict[str, Any] = {}
    value['self'] = value
    return value


@pytest.mark.parametrize(
    'value',
    [
        torch.ones(3).to_sparse(),
        torch.ones(3, dtype=torch.bfloat16),
        torch.ones(3, device='meta'),
        contains_itself(),
    ],
    ids=['sparse', 'bfloat16', 'without content', 'within itself'],
)
def test_other_kinds_of_content_are_damage(path: Path, value: Any) -> None:
    whole = torch.load(path, weights_only=True)
    torch.save({**whole, 'state_dict': value}, path)
    with pytest.raises(DataError, match='is damaged: its content is of another kind'):
        read_checkpoint(path, run='this')


@pytest.mark.parametrize('damage', [b'', b'not a checkpoint', b'PK\x03\x04' + bytes(100)])
def test_other_files_are_refused(path: Path, damage: bytes) -> None:
    path.write_bytes(damage)
    with pytest.raises(DataError, match='is damaged'):
        read_checkpoint(path, run='this')


def test_what_is_no_file_is_missing(path: Path) -> None:
    path.unlink()
    for make in (lambda: None, path.mkdir, lambda: os.mkfifo(path), lambda: path.symlink_to(path)):
        make()
        with pytest.raises(MissingFileError):
            read_checkpoint(path, run='this')
        if path.is_dir():
            path.rmdir()
        else:
            path.unlink(missing_ok=True)


@pytest.mark.parametrize('seed', range(150))
def test_damage_is_noticed_or_harmless(path: Path, seed: int) -> None:
    wanted = read_checkpoint(path, run='this')
    rng, data = random.Random(seed), bytearray(path.read_bytes())
    if seed % 3 == 0:
        data = data[: rng.randrange(len(data))]
    else:
        for _ in range(1 + seed % 2 * 20):
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    path.write_bytes(data)
    try:
        found = read_checkpoint(path, run='this')
    except UserError:
        return
    assert equal(found, wanted)  # in the padding
