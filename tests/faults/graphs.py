"""Graph files of one's own: damaged ones, strange ones, and others under the same path."""

from __future__ import annotations

import io
import os
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.random import Generator
from torch_geometric.data import Data

from faults import damage
from faults.damage import Malicious, pick
from faults.fault import FRESH, REFUSED, UNDAMAGED, Fault, Faults
from faults.graph_contents import STRANGE, UNUSABLE, Arrays
from faults.inputs import NODES, STAGES, graph
from faults.world import SCENES, Place, commands_of

LAID = ('nothing run', 'stage 1 done', 'both done', 'stage 1 killed', 'stage 2 killed')
NAMES = ('graph.npz', 'graph.pt', 'dataset.path', 'edge_index', 'x', 'y', 'mask')


def _lay(place: Place, draw: Generator, scenes: tuple[str, ...] = LAID) -> tuple[str, Path]:
    """Lays a scene; it, and the graph file in it."""
    scene = pick(draw, scenes)
    place.lay(scene)
    return scene, place.folder / 'graph.npz'


def _fault(scene: str, told: str, draw: Generator, expected: str = FRESH, *keys: str) -> Fault:
    alone = ('spexphormer',) if SCENES[scene].get('estimator') == 'done' else commands_of(scene)
    commands = pick(draw, [commands_of(scene), alone])
    return Fault(f'{scene}: the graph {told}', NAMES, expected, commands, keys)


# --- the file ---


def bytes_of_the_file(place: Place, draw: Generator) -> Fault:
    scene, path = _lay(place, draw)
    return _fault(scene, damage.BYTES[pick(draw, damage.BYTES)](path, draw), draw)


def no_file(place: Place, draw: Generator) -> Fault:
    scene, path = _lay(place, draw)
    return _fault(scene, damage.IN_PLACE[pick(draw, damage.IN_PLACE)](path, draw), draw)


def code_in_an_npz(place: Place, draw: Generator) -> Fault:
    scene, path = _lay(place, draw)
    key = pick(draw, ['x', 'y', 'edge_index', 'extra'])
    arrays: Arrays = {**graph(0), key: np.array([Malicious()] * NODES, dtype=object)}
    np.savez(path, **arrays)
    return _fault(scene, f'holds objects that run code as {key}', draw, FRESH)


def code_in_a_pt(place: Place, draw: Generator) -> Fault:
    scene, path = _lay(place, draw, ('nothing run',))
    path = path.with_suffix('.pt')
    tensors = _tensors(graph(0))
    way = pick(
        draw, ['in the dict', 'as the whole', 'a plain pickle', 'in a Data', 'old format', 'a jit archive']
    )
    if way == 'in the dict':
        torch.save({**tensors, pick(draw, ['extra', 'x', 'y']): Malicious()}, path)
    elif way == 'as the whole':
        torch.save(Malicious(), path)
    elif way == 'a plain pickle':
        path.write_bytes(pickle.dumps(Malicious(), protocol=pick(draw, [0, 2, 4])))
    elif way == 'in a Data':
        torch.save(Data(**tensors, extra=Malicious()), path)
    elif way == 'old format':
        torch.save({**tensors, 'extra': Malicious()}, path, _use_new_zipfile_serialization=False)
    else:
        torch.jit.script(torch.nn.Linear(2, 2)).save(str(path))
    return _fault(scene, f'is a .pt file with code, {way}', draw, REFUSED, 'dataset.path', 'graph.pt')


# --- other data under the same path ---


def other_data(place: Place, draw: Generator) -> Fault:
    """A valid graph with other values, where runs have been made from the first one."""
    scene, path = _lay(place, draw, LAID[1:])
    arrays = graph(0)
    way = pick(draw, ['all', 'x', 'y', 'one feature', 'one label', 'edges', 'two edges', 'reordered edges'])
    other = graph(7)
    if way == 'all':
        arrays = other
    elif way in ('x', 'y'):
        arrays[way] = other[way]
    elif way == 'one feature':
        arrays['x'][int(draw.integers(NODES)), 0] += 0.125
    elif way == 'one label':
        node = int(draw.integers(NODES))
        arrays['y'][node] = 1 - arrays['y'][node]
    elif way == 'edges':
        arrays['edge_index'] = other['edge_index']
    elif way == 'two edges':
        arrays['edge_index'][1, :2] = arrays['edge_index'][1, 1::-1]
    else:
        arrays['edge_index'] = arrays['edge_index'][:, ::-1]
    keep = bool(draw.integers(2))
    _write_in_place(path, arrays, keep_times=keep)
    return _fault(scene, f'has others: {way}{", with the times of the file kept" if keep else ""}', draw)


def _write_in_place(path: Path, arrays: Arrays, *, keep_times: bool) -> None:
    """Writes into the same inode; with times kept and the same size it looks as before."""
    before = path.stat()
    content = io.BytesIO()
    np.savez(content, **arrays)
    with path.open('r+b') as file:
        file.write(content.getvalue())
        file.truncate()
    if keep_times:
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def the_same_data(place: Place, draw: Generator) -> Fault:
    """The same arrays written anew, compressed, moved or linked: nothing has changed."""
    scene, path = _lay(place, draw)
    way = pick(draw, ['anew', 'compressed', 'order of keys', 'link', 'touched'])
    arrays = graph(0)
    if way == 'compressed':
        np.savez_compressed(path, **arrays)  # type: ignore[arg-type]
    elif way == 'order of keys':
        np.savez(path, **dict(reversed(arrays.items())))  # type: ignore[arg-type]
    elif way == 'link':
        path.rename(path.with_name('elsewhere.npz'))
        path.symlink_to('elsewhere.npz')
    elif way == 'touched':
        os.utime(path)
    else:
        np.savez(path, **arrays)  # type: ignore[arg-type]
    return _fault(scene, f'is the same, {way}', draw, UNDAMAGED)


# --- types: the same numbers, written otherwise, have to give the same result or be refused ---

TYPES = ('u1', 'u2', 'u4', 'u8', 'i1', 'i2', 'i4', '>i8', 'f2', 'f4', 'f8', '>f4', 'c8', 'O', 'U3', 'S3', '?')


def another_type(place: Place, draw: Generator) -> Fault:
    scene, path = _lay(place, draw, LAID[:1])
    arrays: Arrays = graph(0)
    key, dtype = pick(draw, ['edge_index', 'x', 'y']), pick(draw, TYPES)
    if key == 'x' and (dtype[:-1].lstrip('>') in ('i', 'u') or dtype == '?'):
        dtype = 'f8'
    if key == 'edge_index' and dtype == '?':
        dtype = 'u8'
    arrays[key] = arrays[key].astype(dtype)
    np.savez(path, **arrays)
    return _fault(scene, f'has {key} as {dtype}', draw, UNDAMAGED)


def another_layout(place: Place, draw: Generator) -> Fault:
    """The same numbers in another order of memory, or with an axis of one more."""
    scene, path = _lay(place, draw, LAID[:1])
    arrays: Arrays = graph(0)
    key = pick(draw, ['edge_index', 'x', 'y'])
    way = pick(draw, ['fortran', 'column'])
    if key == 'y' or way == 'column':
        key = 'y'
        arrays['y'] = arrays['y'][:, None]
    else:
        arrays[key] = np.asfortranarray(arrays[key])
    np.savez(path, **arrays)
    return _fault(scene, f'has {key} in another layout', draw, UNDAMAGED)


def as_pt(place: Place, draw: Generator) -> Fault:
    """The same numbers as tensors, in a dict or a PyG Data."""
    scene, path = _lay(place, draw, LAID[:1])
    tensors = _tensors(graph(0))
    way = pick(draw, ['dict', 'Data', 'old format', 'gradients', 'int32', 'float16', 'strided', 'parameter'])
    if way == 'gradients':
        tensors['x'].requires_grad_()
    elif way == 'int32':
        tensors['edge_index'] = tensors['edge_index'].int()
    elif way == 'float16':
        tensors['x'] = tensors['x'].half()
    elif way == 'strided':
        tensors['x'] = tensors['x'].t().contiguous().t()
    elif way == 'parameter':
        tensors['x'] = torch.nn.Parameter(tensors['x'])
    content = Data(**tensors) if way == 'Data' else tensors
    torch.save(content, path.with_suffix('.pt'), _use_new_zipfile_serialization=way != 'old format')
    return _fault(scene, f'is a .pt file ({way})', draw, UNDAMAGED, 'dataset.path', 'graph.pt')


def _tensors(arrays: Arrays) -> dict[str, torch.Tensor]:
    return {key: torch.from_numpy(array) for key, array in arrays.items()}


# --- content that cannot be used, or not as one would think ---


def unusable_content(place: Place, draw: Generator) -> Fault:
    scene, path = _lay(place, draw, ('nothing run',))
    name = pick(draw, UNUSABLE)
    arrays: Arrays = graph(0)
    UNUSABLE[name](arrays)
    np.savez(path, **arrays)
    keys = ('dataset.split_mode', 'standard') if 'mask' in name else ()
    return _fault(scene, f'has {name}', draw, REFUSED, *keys)


def strange_content(place: Place, draw: Generator) -> Fault:
    scene, path = _lay(place, draw, ('nothing run', 'both done'))
    name = pick(draw, STRANGE)
    arrays: Arrays = graph(0)
    STRANGE[name](arrays)
    np.savez(path, **arrays)
    keys = ['dataset.split_mode', 'standard'] if 'mask' in name else []
    keys += ['dataset.task_type', 'classification_multilabel'] if name == 'two tasks' else []
    fault = _fault(scene, f'has {name}', draw, FRESH, *keys)
    return Fault(fault.told, (*NAMES, 'split', 'metric', 'config'), FRESH, STAGES, fault.keys)


def strange_archive(place: Place, draw: Generator) -> Fault:
    """An archive that says one thing in its headers and another in its bytes."""
    scene, path = _lay(place, draw, ('nothing run',))
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    way = pick(
        draw, ['huge shape', 'negative shape', 'short data', 'twice', 'no array', 'pickle header', 'npy']
    )
    name = pick(draw, members)
    if way == 'npy':
        np.save(path.with_suffix('.npy'), graph(0)['x'])
        path.write_bytes(path.with_suffix('.npy').read_bytes())
        return _fault(scene, 'is an .npy file', draw, REFUSED)
    content = members[name]
    start = content.index(b"'shape': ") + len(b"'shape': ")
    end = content.index(b')', start) + 1
    changed = {
        'huge shape': b'(9999999999999,)',
        'negative shape': b'(-1, 5)',
        'pickle header': b'__import__("os").system("touch code-was-run")',
    }.get(way)
    if changed is not None:
        old = content[start:end]
        members[name] = (
            content[:start] + changed.ljust(len(old))[: max(len(old), len(changed))] + content[end:]
        )
    elif way == 'short data':
        members[name] = content[:-8]
    elif way == 'no array':
        members[name] = b'text'
    with zipfile.ZipFile(path, 'w') as archive:
        for member, stored in members.items():
            archive.writestr(member, stored)
        if way == 'twice':
            other = io.BytesIO()
            np.save(other, graph(7)[name.removesuffix('.npy')])
            archive.writestr('./' + name, other.getvalue())
    return _fault(scene, f'has a member {name} with {way}', draw, REFUSED)


def strange_pt(place: Place, draw: Generator) -> Fault:
    scene, path = _lay(place, draw, ('nothing run',))
    path = path.with_suffix('.pt')
    tensors: Arrays = _tensors(graph(0))
    way = pick(
        draw, ['empty', 'text', 'list', 'tensor', 'lists', 'sparse', 'nested', 'number keys', 'cut', 'None']
    )
    if way in ('empty', 'text'):
        path.write_bytes(b'' if way == 'empty' else b'edge_index: 1\n')
    elif way == 'cut':
        torch.save(tensors, path)
        damage.cut(path, draw)
    else:
        contents: dict[str, Any] = {
            'list': list(tensors.values()),
            'tensor': tensors['x'],
            'lists': {key: x.tolist() for key, x in tensors.items()},
            'sparse': {**tensors, 'x': tensors['x'].to_sparse()},
            'nested': {'graph': tensors},
            'number keys': {**tensors, 1: tensors['x']},
            'None': {**tensors, 'x': None},
        }
        torch.save(contents[way], path)
    expected = UNDAMAGED if way in ('lists', 'sparse') else REFUSED  # the same numbers
    return _fault(scene, f'is a .pt file that holds {way}', draw, expected, 'dataset.path', 'graph.pt')


FAULTS: Faults = {
    'bytes of the file': bytes_of_the_file,
    'no file': no_file,
    'code in an npz': code_in_an_npz,
    'code in a pt': code_in_a_pt,
    'other data': other_data,
    'the same data': the_same_data,
    'another type': another_type,
    'another layout': another_layout,
    'as pt': as_pt,
    'unusable content': unusable_content,
    'strange content': strange_content,
    'strange archive': strange_archive,
    'strange pt': strange_pt,
}
