"""Damage to raw files of data sets that PyG reads."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
from numpy.random import Generator

from faults import damage
from faults.damage import SENTINEL, Malicious, pick
from faults.fault import FRESH, Fault, Faults
from faults.world import Place


def _lay(place: Place, draw: Generator) -> tuple[str, Path]:
    """Lays a scene, and chooses a raw file in it."""
    scene = pick(draw, ['nothing run', 'planetoid done'])
    place.lay(scene)
    folder = place.folder / 'data' / 'Planetoid' / 'Cora' / 'raw'
    return scene, pick(draw, sorted(folder.iterdir()))


def _fault(scene: str, path: Path, told: str, expected: str = FRESH) -> Fault:
    names = (path.name, str(path.parent.name), 'dataset.dir', 'dataset.name', 'Cora')
    return Fault(f'{scene}: {path.name} {told}', names, expected, ('planetoid',))


def bytes_of_a_raw_file(place: Place, draw: Generator) -> Fault:
    scene, path = _lay(place, draw)
    ways = {name: way for name, way in damage.BYTES.items() if name != 'missing'}  # it would be downloaded
    return _fault(scene, path, ways[pick(draw, ways)](path, draw))


def code_in_a_raw_file(place: Place, draw: Generator) -> Fault:
    scene, path = _lay(place, draw)
    if path.name.endswith('index'):
        path = path.with_name('ind.cora.graph')
    way = pick(draw, ['alone', 'beside the content', 'in an object array', 'by name', 'in a dict'])
    content = pickle.loads(path.read_bytes())
    if way == 'by name':
        path.write_bytes(b'cbuiltins\nexec\n(S\'open("' + SENTINEL.encode() + b'", "w")\'\ntR.')
    else:
        wrapped = {
            'alone': Malicious(),
            'beside the content': (Malicious(), content),
            'in an object array': np.array([Malicious(), content], dtype=object),
            'in a dict': {0: [Malicious()]},
        }[way]
        path.write_bytes(pickle.dumps(wrapped, protocol=pick(draw, [0, 2, 4])))
    return _fault(scene, path, f'has an object that runs code, {way}', FRESH)


def other_raw_data(place: Place, draw: Generator) -> Fault:
    """The raw files of another graph, or one of them, where runs have been made from the first."""
    place.lay('planetoid done')
    folder = place.folder / 'data' / 'Planetoid' / 'Cora' / 'raw'
    strange = place.world / 'inputs' / 'other data' / 'data' / 'Planetoid' / 'Cora' / 'raw'
    files = sorted(folder.iterdir())
    chosen = files if draw.integers(2) else [pick(draw, files)]
    for path in chosen:
        damage.replaced_by(path, strange / path.name)
    return _fault(
        'planetoid done',
        chosen[0],
        'and all others are of another graph' if chosen == files else 'is of another graph',
    )


FAULTS: Faults = {
    'bytes of a raw file': bytes_of_a_raw_file,
    'code in a raw file': code_in_a_raw_file,
    'other raw data': other_raw_data,
}
