"""Damage to the score store of a finished stage 1, which stage 2 reads or has read."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.random import Generator

from faults import damage
from faults.damage import SENTINEL, Malicious, pick
from faults.fault import FRESH, Fault, Faults
from faults.inputs import STAGES
from faults.world import Place
from graphgps_ext import scores
from graphgps_ext.graph import InNeighbors

SCENES = ('stage 1 done', 'stage 2 killed', 'both done')
ONLY_STAGE_2 = ('spexphormer',)
NAMES = ('scores', 'manifest.json')


def _lay(place: Place, draw: Generator) -> tuple[str, Path]:
    """Lays a scene; the store in it."""
    scene = pick(draw, SCENES)
    place.lay(scene)
    return scene, place.run_dir('estimator') / 'scores'


def _commands(draw: Generator) -> tuple[str, ...]:
    return pick(draw, [STAGES, ONLY_STAGE_2])


def _file_with(place: Place, draw: Generator, ways: dict[str, damage.Damage], only: str = '*') -> Fault:
    scene, store = _lay(place, draw)
    path = pick(draw, sorted(store.glob(only)))
    told = ways[pick(draw, ways)](path, draw)
    return Fault(f'{scene}: scores/{path.name} {told}', (path.name, *NAMES), commands=_commands(draw))


def bytes_of_a_file(place: Place, draw: Generator) -> Fault:
    return _file_with(place, draw, damage.BYTES)


def bits_of_a_layer(place: Place, draw: Generator) -> Fault:
    return _file_with(place, draw, {'flipped bit': damage.flipped_bit}, 'layer_*.npy')


def no_file(place: Place, draw: Generator) -> Fault:
    return _file_with(place, draw, damage.IN_PLACE)


def text_of_the_manifest(place: Place, draw: Generator) -> Fault:
    return _file_with(place, draw, damage.TEXT, 'manifest.json')


def json_of_the_manifest(place: Place, draw: Generator) -> Fault:
    return _file_with(place, draw, {'JSON': damage.json_damage}, 'manifest.json')


# --- values ---


def _layer_with(place: Place, draw: Generator, change: Callable[[np.ndarray, np.ndarray], str]) -> Fault:
    """Changes the values of a layer; `change` takes it and the row pointers, and says what it did."""
    scene, store = _lay(place, draw)
    path = pick(draw, sorted(store.glob('layer_*.npy')))
    layer, indptr = np.load(path), np.load(store / 'indptr.npy')
    told = change(layer, indptr)
    np.save(path, layer)
    return Fault(f'{scene}: scores/{path.name} {told}', (path.name, *NAMES), commands=_commands(draw))


def _a_row(indptr: np.ndarray, draw: Generator) -> slice:
    rows = np.flatnonzero(np.diff(indptr) > 1)
    row = int(pick(draw, rows))
    return slice(int(indptr[row]), int(indptr[row + 1]))


def weights_moved_in_a_row(place: Place, draw: Generator) -> Fault:
    """Other weights with the same sum."""

    def change(layer: np.ndarray, indptr: np.ndarray) -> str:
        row = layer[_a_row(indptr, draw)]
        share = np.float32(draw.uniform(0.05, 0.95)) * row[0]
        row[0] -= share
        row[1] += share
        return 'has weight moved from one edge of a node to another'

    return _layer_with(place, draw, change)


def weights_permuted_in_a_row(place: Place, draw: Generator) -> Fault:
    def change(layer: np.ndarray, indptr: np.ndarray) -> str:
        row = layer[_a_row(indptr, draw)]
        row[:] = np.roll(row, 1)
        return 'has the weights of a node permuted'

    return _layer_with(place, draw, change)


def rescaled_layer(place: Place, draw: Generator) -> Fault:
    def change(layer: np.ndarray, indptr: np.ndarray) -> str:
        factor = pick(draw, [0.5, 2.0, 1 - 1e-6, 1e-30, 0.9995])
        layer *= np.float32(factor)
        return f'is multiplied by {factor}'

    return _layer_with(place, draw, change)


def strange_weights(place: Place, draw: Generator) -> Fault:
    def change(layer: np.ndarray, indptr: np.ndarray) -> str:
        value = pick(draw, [np.nan, np.inf, -np.inf, -0.1, 0.0, 1e30, -0.0])
        layer[_a_row(indptr, draw).start] = value
        return f'has a weight {value}'

    return _layer_with(place, draw, change)


# --- arrays ---


def swapped_layers(place: Place, draw: Generator) -> Fault:
    scene, store = _lay(place, draw)
    first, second = store / 'layer_0.npy', store / 'layer_1.npy'
    kept = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(kept)
    return Fault(f'{scene}: two layers are swapped', (first.name, *NAMES), commands=_commands(draw))


def a_copied_layer(place: Place, draw: Generator) -> Fault:
    scene, store = _lay(place, draw)
    source, target = pick(draw, [('layer_0.npy', 'layer_1.npy'), ('layer_1.npy', 'layer_0.npy')])
    (store / target).write_bytes((store / source).read_bytes())
    return Fault(f'{scene}: {target} is a copy of {source}', (target, *NAMES), commands=_commands(draw))


def an_array_of_another_kind(place: Place, draw: Generator) -> Fault:
    """The values of an array in another type, order, shape or version of the format."""
    scene, store = _lay(place, draw)
    path = pick(draw, sorted(store.glob('*.npy')))
    array = np.load(path)
    kind = pick(
        draw, ['dtype', 'big endian', 'column', 'version', 'shorter', 'reversed', 'objects', 'header']
    )
    if kind == 'dtype':
        np.save(path, array.astype(pick(draw, ['<f8', '<i8', '<f2', '<c8', 'U8', '?'])))
    elif kind == 'big endian':
        np.save(path, array.astype(array.dtype.newbyteorder('>')))
    elif kind == 'column':
        np.save(path, array[:, None])
    elif kind == 'version':
        with path.open('wb') as file:
            np.lib.format.write_array(file, array, version=(2, 0))
    elif kind == 'shorter':
        np.save(path, array[: int(draw.integers(len(array)))])
    elif kind == 'reversed':
        np.save(path, array[::-1].copy())
    elif kind == 'objects':
        np.save(path, np.array([Malicious()] * len(array), dtype=object), allow_pickle=True)
    else:
        content = path.read_bytes()
        path.write_bytes(content.replace(str(len(array)).encode(), b'9' * len(str(len(array))), 1))
    told = f'{scene}: scores/{path.name} is written otherwise ({kind})'
    return Fault(told, (path.name, *NAMES, SENTINEL), commands=_commands(draw))


# --- other stores ---


def a_file_of_another_store(place: Place, draw: Generator) -> Fault:
    scene, store = _lay(place, draw)
    origin = pick(draw, ['other seed', 'other data'])
    strange = place.strange(origin, 'estimator') / 'scores'
    path = pick(draw, sorted(store.iterdir()))
    damage.replaced_by(path, strange / path.name)
    told = f'{scene}: scores/{path.name} is that of an estimator with {origin}'
    return Fault(told, (path.name, *NAMES, 'graph.npz'), commands=_commands(draw))


def another_store(place: Place, draw: Generator) -> Fault:
    """All scores, those of another estimator: whole, and yet not those of this run."""
    scene, store = _lay(place, draw)
    origin = pick(draw, ['other seed', 'other data'])
    damage.replaced_by(store, place.strange(origin, 'estimator') / 'scores')
    told = f'{scene}: the scores are those of an estimator with {origin}'
    names = ('scores', 'estimator', 'seed', 'graph.npz')
    return Fault(told, names, commands=STAGES if draw.integers(2) else ONLY_STAGE_2, expected=FRESH)


def another_estimator(place: Place, draw: Generator) -> Fault:
    """The whole run of stage 1 is replaced under stage 2."""
    scene = pick(draw, ['stage 2 killed', 'both done'])
    place.lay(scene)
    origin = pick(draw, ['other seed', 'other data'])
    damage.replaced_by(place.run_dir('estimator'), place.strange(origin, 'estimator'))
    told = f'{scene}: the estimator is one with {origin}'
    names = ('estimator', 'scores', 'seed', 'graph.npz', 'spex.estimator')
    return Fault(told, names, commands=ONLY_STAGE_2, expected=FRESH)


def no_store(place: Place, draw: Generator) -> Fault:
    scene, store = _lay(place, draw)
    damage.replaced_by(store, place.folder / 'graph.npz')
    gone = bool(draw.integers(2))
    if gone:
        store.unlink()
    told = f'{scene}: scores is {"missing" if gone else "a file"}'
    return Fault(told, NAMES, commands=_commands(draw))


def a_stray_file(place: Place, draw: Generator) -> Fault:
    scene, store = _lay(place, draw)
    name = pick(draw, ['layer_2.npy', 'notes.txt', '.manifest.json', 'layer_00.npy'])
    (store / name).write_bytes((store / 'layer_0.npy').read_bytes())
    return Fault(f'{scene}: scores has another file, {name}', (name, *NAMES), commands=_commands(draw))


def another_graph_in_the_store(place: Place, draw: Generator) -> Fault:
    """Edges of a node in another order, and the fingerprint of the manifest taken anew, as a liar would."""
    scene, store = _lay(place, draw)
    arrays = {name: np.load(store / f'{name}.npy') for name in ('indptr', 'source', 'edge_type')}
    row = _a_row(arrays['indptr'], draw)
    for name in ('source', 'edge_type'):
        arrays[name][row] = arrays[name][row][::-1].copy()
        np.save(store / f'{name}.npy', arrays[name])
    indptr, source, edge_type = (torch.from_numpy(array) for array in arrays.values())
    graph = InNeighbors(indptr, source, edge_type, num_sources=len(indptr) - 1)
    manifest = json.loads((store / 'manifest.json').read_text())
    manifest['graph_fingerprint'] = scores.graph_fingerprint(graph)
    (store / 'manifest.json').write_text(json.dumps(manifest))
    told = f'{scene}: the store holds another graph, with its fingerprint'
    return Fault(told, (*NAMES, 'source.npy'), commands=_commands(draw))


FAULTS: Faults = {
    'bytes of a file': bytes_of_a_file,
    'bits of a layer': bits_of_a_layer,
    'no file': no_file,
    'text of the manifest': text_of_the_manifest,
    'JSON of the manifest': json_of_the_manifest,
    'weights moved in a row': weights_moved_in_a_row,
    'weights permuted in a row': weights_permuted_in_a_row,
    'rescaled layer': rescaled_layer,
    'strange weights': strange_weights,
    'swapped layers': swapped_layers,
    'a copied layer': a_copied_layer,
    'an array of another kind': an_array_of_another_kind,
    'a file of another store': a_file_of_another_store,
    'another store': another_store,
    'another estimator': another_estimator,
    'no store': no_store,
    'a stray file': a_stray_file,
    'another graph in the store': another_graph_in_the_store,
}
