"""Whatever has become of a file of a store: one clear error, or the scores as they were written."""

import os
import shutil
import socket
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from toy_store import everything_in

from graphgps_ext import scores
from graphgps_ext.errors import DataError, MissingFileError


def a_folder(path: Path) -> None:
    path.mkdir()


def a_pipe(path: Path) -> None:
    os.mkfifo(path)


def a_socket(path: Path) -> None:
    os.chdir(path.parent)  # its whole path may be too long for a socket
    with socket.socket(socket.AF_UNIX) as stream:
        stream.bind(path.name)


def a_device(path: Path) -> None:
    path.symlink_to('/dev/zero')


def a_loop(path: Path) -> None:
    path.symlink_to(path)


def a_link_to_nothing(path: Path) -> None:
    path.symlink_to(path.parent / 'nothing')


def an_empty_file(path: Path) -> None:
    path.write_bytes(b'')


THINGS = [a_folder, a_pipe, a_socket, a_device, a_loop, a_link_to_nothing, an_empty_file]


def remove(path: Path) -> None:
    shutil.rmtree(path) if path.is_dir() else path.unlink()


@pytest.mark.parametrize('thing', THINGS)
@pytest.mark.parametrize('name', ['manifest.json', 'indptr.npy', 'layer_1.npy'])
def test_something_else_in_place_of_a_file_is_named(saved, monkeypatch, name, thing):
    monkeypatch.chdir(saved)
    remove(saved / name)
    thing(saved / name)
    for read in (scores.load, scores.verify):
        with pytest.raises((DataError, MissingFileError), match='run stage 1') as error:
            read(saved)
        if (name, thing) != ('manifest.json', a_link_to_nothing):  # then there are no scores at all
            assert str(saved / name) in str(error.value)


@pytest.mark.parametrize('thing', [thing for thing in THINGS if thing is not a_folder])
def test_something_else_in_place_of_the_folder_is_named_and_replaced(
    saved, graph, layers, manifest, monkeypatch, thing
):
    monkeypatch.chdir(saved.parent)
    remove(saved)
    thing(saved)
    with pytest.raises((DataError, MissingFileError), match=rf'{saved}.*run stage 1'):
        scores.load(saved)
    with pytest.raises((DataError, MissingFileError), match=rf'{saved}.*run stage 1'):
        scores.find(saved.parent.parent, split_fingerprint='abc')
    with pytest.raises(FileExistsError):
        scores.save(saved, graph, layers, manifest)
    scores.save(saved, graph, layers, manifest, overwrite=True)
    assert torch.equal(scores.load(saved).layers[2], layers[2])
    assert os.listdir(saved.parent) == ['scores']


def test_a_link_to_scores_is_replaced_and_what_it_leads_to_stays(saved, graph, layers, manifest):
    moved = saved.with_name('moved')
    saved.rename(moved)
    saved.symlink_to(moved)
    scores.save(saved, graph, layers[::-1], manifest, overwrite=True)
    assert torch.equal(scores.load(saved).layers[0], layers[2])
    assert torch.equal(scores.load(moved).layers[0], layers[0])


@pytest.mark.parametrize('name', ['manifest.json', 'layer_1.npy'])
def test_a_file_that_may_not_be_read_is_named(saved, monkeypatch, name):
    real = Path.open

    def refuse(path: Path, *arguments: object, **options: object) -> object:
        if path.name == name:
            raise PermissionError(13, 'Permission denied')
        return real(path, *arguments, **options)

    monkeypatch.setattr(Path, 'open', refuse)  # the superuser of a container may read everything
    with pytest.raises(DataError, match=rf'{name} cannot be read: Permission denied'):
        scores.load(saved)


HEADERS = {
    'Fortran order': (1, "{'descr': '<f4', 'fortran_order': True, 'shape': (6,), }"),
    'objects': (1, "{'descr': '|O', 'fortran_order': False, 'shape': (6,), }"),
    'big endian': (1, "{'descr': '>f4', 'fortran_order': False, 'shape': (6,), }"),
    'a record': (1, "{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (6,), }"),
    'no dtype': (1, "{'descr': {'a': []}, 'fortran_order': False, 'shape': (6,), }"),
    'two dimensions': (1, "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }"),
    'negative': (1, "{'descr': '<f4', 'fortran_order': False, 'shape': (-6,), }"),
    'huge': (1, "{'descr': '<f4', 'fortran_order': False, 'shape': (10000000000000000000000,), }"),
    'version 2': (2, "{'descr': '<f4', 'fortran_order': False, 'shape': (6,), }"),
    'version 3': (3, "{'descr': '<f4', 'fortran_order': False, 'shape': (6,), }"),
    'version 9': (9, "{'descr': '<f4', 'fortran_order': False, 'shape': (6,), }"),
    'depth': (1, '(' * 900),
    'more depth': (1, '-' * 900 + '1'),
    'length': (1, '[' * 60_000),
    'a call': (1, "__import__('os').abort()"),
    'a bad escape': (1, "{'descr': '\\d', 'fortran_order': False, 'shape': (6,), }"),
    'Python 2': (1, "{'descr': '<f4', 'fortran_order': False, 'shape': (7L,), }"),
    'indented': (1, '  a\n b'),
    'open string': (1, "'''"),
    'NUL': (1, '\0' * 100),
    'nothing': (1, ''),
}


@pytest.mark.parametrize('version, header', HEADERS.values(), ids=HEADERS)
def test_a_header_of_something_else_is_refused(saved, layers, version, header):
    text = header.encode().ljust(117) + b'\n'
    length = len(text).to_bytes(2 if version == 1 else 4, 'little')
    content = b'\x93NUMPY' + bytes([version, 0]) + length + text + layers[1].numpy().tobytes()
    (saved / 'layer_1.npy').write_bytes(content)
    with pytest.raises(DataError, match=r'layer_1\.npy .*run stage 1 again') as error:
        scores.load(saved)
    assert len(str(error.value)) < len(str(saved)) + 350 and '\n' not in str(error.value)


def flip_a_bit(store: Path, other: Path) -> None:
    content = bytearray((store / 'layer_1.npy').read_bytes())
    content[-7] ^= 1
    (store / 'layer_1.npy').write_bytes(content)


def swap_layers(store: Path, other: Path) -> None:
    (store / 'layer_2.npy').rename(store / 'x')
    (store / 'layer_1.npy').rename(store / 'layer_2.npy')
    (store / 'x').rename(store / 'layer_1.npy')


def move_weight(store: Path, other: Path) -> None:
    layer = np.load(store / 'layer_1.npy')
    layer[:2] = layer[1::-1]  # sums to one, as before
    np.save(store / 'layer_1.npy', layer)


def append(store: Path, other: Path) -> None:
    with (store / 'layer_1.npy').open('ab') as file:
        file.write(b'1234')


def copy_of_another_run(store: Path, other: Path) -> None:
    shutil.copy(other / 'layer_1.npy', store / 'layer_1.npy')


@pytest.mark.parametrize('damage', [flip_a_bit, swap_layers, move_weight, append, copy_of_another_run])
def test_a_changed_layer_is_named(
    saved, tmp_path, graph, layers, manifest, damage: Callable[[Path, Path], None]
):
    scores.save(tmp_path / 'other', graph, layers[::-1][1:] + layers[:1], manifest)
    damage(saved, tmp_path / 'other')
    for read in (scores.load, scores.verify):
        with pytest.raises(DataError, match=r'layer_1\.npy (is damaged|has bytes too many): .*run stage 1'):
            read(saved)


@pytest.mark.parametrize('name', ['indptr', 'source', 'edge_type'])
def test_a_changed_graph_is_named(saved, name):
    array = np.load(saved / f'{name}.npy')
    array[1] += 1
    np.save(saved / f'{name}.npy', array)
    for read in (scores.load, scores.verify):
        with pytest.raises(DataError, match=rf'{name}\.npy is damaged: its checksum .*run stage 1 again'):
            read(saved)


def test_layers_that_are_not_asked_for_are_not_looked_at(saved, layers):
    (saved / 'layer_2.npy').unlink()
    loaded = scores.load(saved, expect={'num_layers': 2}, allow_fewer_layers=True)
    assert torch.equal(loaded.layers[1], layers[1])
    with pytest.raises(DataError, match=r'layer_2\.npy is missing'):
        scores.verify(saved)


def damage_at_random(store: Path, rng: np.random.Generator) -> str:
    """Flips bits, replaces, cuts, adds, removes or exchanges, one to three times; says where."""
    done = []
    for _ in range(rng.integers(1, 4)):
        names = everything_in(store)
        name, other = (str(name) for name in rng.choice(names, 2))
        content = bytearray((store / name).read_bytes())
        at = int(rng.integers(len(content))) if content else 0
        match int(rng.integers(7)):
            case 0:
                for at in rng.integers(len(content), size=rng.integers(1, 4)) if content else ():
                    content[at] ^= 1 << int(rng.integers(8))
            case 1:
                content[at : at + int(rng.integers(1, 40))] = rng.bytes(int(rng.integers(40)))
            case 2:
                del content[at:]
            case 3:
                content += rng.bytes(int(rng.integers(1, 20)))
            case 4:
                content = bytearray((store / other).read_bytes())
            case 5:
                content[at:at] = b'0123456789-+eE.,:{}[]"\\ ntf'[at % 26 :][: int(rng.integers(1, 3))]
            case 6:
                (store / name).unlink()
                if len(names) == 1:
                    return f'{done}'
                continue
        (store / name).write_bytes(content)
        done.append((name, at))
    return f'{done}'


@pytest.mark.parametrize('seed', range(4))
def test_random_damage_gives_an_error_or_equal_scores(saved, tmp_path, layers, seed):
    whole = scores.load(saved)
    rng = np.random.default_rng(seed)
    refused = 0
    for _ in range(25):
        store = tmp_path / 'damaged'
        shutil.copytree(saved, store)
        what = damage_at_random(store, rng)
        try:
            verified, loaded = scores.verify(store), scores.load(store)
        except (DataError, MissingFileError) as error:
            assert 'run stage 1' in str(error), what
            refused += 1
        else:
            assert loaded.manifest == verified == whole.manifest, what
            assert all(map(torch.equal, loaded.layers, layers)), what
            assert torch.equal(loaded.graph.source, whole.graph.source), what
        shutil.rmtree(store)
    assert refused > 12
