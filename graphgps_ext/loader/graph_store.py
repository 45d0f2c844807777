"""Attention graphs of large data sets: built once on a machine, from then on mapped into memory.

A folder for each graph, named by a fingerprint of all that it is made from:

    graph.json       what it is made from; size, type and state of each file; a checksum of all this
    source.npy ...   the arrays of the graph, of its transpose and of its edge features, one-dimensional
    used             empty; its time is that of the last use

Processes of one machine that use a graph share its pages. A folder whose files are not as they were written
(other sizes, times of change or inodes, by which also a copy is known) is made anew.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import torch
from filelock import FileLock, Timeout
from torch import Tensor

from graphgps_ext.files import delete, new_folder
from graphgps_ext.fingerprints import fingerprint
from graphgps_ext.graph import InNeighbors, OutNeighbors
from graphgps_ext.scores.files import map_array, open_file, write_array
from graphgps_ext.transform.attention_graph import AttentionGraph

FORMAT = 1
MANIFEST, USED = 'graph.json', 'used'
SMALLEST = 4_000_000  # edges; a smaller graph is built in a second, and needs no place on a disk


class KeptGraph(NamedTuple):
    """A graph that lies in a folder of graphs.

    Attributes:
        folder: its own.
        name: of its data set; empty if that cannot be read.
        num_bytes: of its files.
        used: when it was last used, in seconds since the epoch.
    """

    folder: Path
    name: str
    num_bytes: int
    used: float


def kept(
    made_from: Mapping[str, Any],
    build: Callable[[], AttentionGraph],
    *,
    name: str,
    num_edges: int,
    folder: Path,
    most_bytes: float,
) -> AttentionGraph:
    """The graph that `build` makes, from its folder if it was built before.

    Of several processes that want the same graph one builds it and the others wait. Where it cannot be kept
    (a disk that is full or only read), it is built each time, and the log says so.

    Args:
        made_from: all that decides about the graph: what JSON can hold.
        build: makes it, with its transpose.
        name: of the data set, for those who look at the folder.
        num_edges: about how many edges it will have; small graphs are not kept.
        folder: of graphs.
        most_bytes: that all kept graphs may take: those not used for the longest time go first; 0 keeps none.
    """
    if num_edges < SMALLEST or most_bytes == 0:
        return build()
    text = json.dumps({'format': FORMAT, **made_from}, sort_keys=True)
    place = folder / fingerprint(text)
    if (found := _read(place, text)) is not None:
        return found
    with _locked(place) as is_writable:
        if (found := _read(place, text)) is not None:
            return found
        built = build()
        if is_writable and _write(place, text, built, name, most_bytes):
            return _read(place, text) or built
        return built


def graphs(folder: Path) -> list[KeptGraph]:
    """Those in a folder, the last used one first."""
    found = []
    with suppress(FileNotFoundError):
        for place in folder.iterdir():
            if place.is_dir() and re.fullmatch('[0-9a-f]{32}', place.name):
                found.append(_described(place))
    return sorted(found, key=lambda graph: -graph.used)


def _described(place: Path) -> KeptGraph:
    name = ''
    with suppress(OSError, ValueError, TypeError, KeyError, AttributeError):
        name = str(_manifest(place)['name'])
    used, num_bytes = 0.0, 0
    with suppress(OSError):  # another process may delete it meanwhile
        num_bytes = sum(file.stat().st_size for file in place.iterdir())
        used = (place / USED).stat().st_mtime
    return KeptGraph(place, name, num_bytes, used)


@contextmanager
def _locked(place: Path) -> Iterator[bool]:
    """Holds the lock of a graph; False where there can be none, and nothing is kept."""
    lock = FileLock(place.with_name(f'.{place.name}.lock'))
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(blocking=False)
        except Timeout:
            logging.info('another process builds this attention graph: waiting for it')
            lock.acquire()
    except OSError as error:
        _tell(place, error)
        yield False
        return
    try:
        yield True
    finally:
        lock.release()


def _tell(place: Path, error: OSError) -> None:
    logging.warning(
        f'the attention graph cannot be kept in {place.parent}, and is built at every start '
        f'({error.strerror}; keys prep.cache_dir and prep.cache_gb)'
    )


def _arrays(graph: AttentionGraph) -> dict[str, Tensor]:
    """All arrays by the names of their files."""
    neighbors, transpose = graph.neighbors, graph.neighbors.transpose
    assert transpose is not None
    arrays = {
        'indptr': neighbors.indptr,
        'source': neighbors.source,
        'edge_type': neighbors.edge_type,
        'out_indptr': transpose.indptr,
        'out_target': transpose.target,
        'out_edge_type': transpose.edge_type,
        'out_edge_id': transpose.edge_id,
        'edge_attr': graph.edge_attr,
    }
    return {name: array for name, array in arrays.items() if array is not None}


def _write(place: Path, text: str, graph: AttentionGraph, name: str, most_bytes: float) -> bool:
    """Whether the graph lies there now."""
    arrays = _arrays(graph)
    num_bytes = sum(array.nbytes for array in arrays.values())
    if num_bytes > most_bytes:
        logging.info(
            f'the attention graph takes {num_bytes / 1e9:.1f} GB and is not kept: prep.cache_gb allows '
            f'{most_bytes / 1e9:g} GB'
        )
        return False
    _make_room(place.parent, most_bytes - num_bytes)
    try:
        with new_folder(place) as partial:
            files = {}
            for kind, array in arrays.items():
                flat = array.reshape(-1).numpy()
                write_array(partial / f'{kind}.npy', flat)
                state = _state(partial / f'{kind}.npy')
                files[kind] = {'size': flat.size, 'dtype': flat.dtype.str, 'state': state}
            content = {
                'name': name,
                'made_from': text,
                'num_sources': graph.neighbors.num_sources,
                'files': files,
            }
            check = fingerprint(json.dumps(content))
            (partial / MANIFEST).write_text(json.dumps({**content, 'check': check}), encoding='utf-8')
            (partial / USED).touch()
    except OSError as error:
        _tell(place, error)
        return False
    return True


def _make_room(folder: Path, most_bytes: float) -> None:
    """Deletes graphs, those not used for the longest time first, until the rest takes no more than this.

    And what killed processes have left half written.
    """
    for left in folder.glob('.*.partial'):
        with suppress(Timeout, OSError), FileLock(left.with_suffix('.lock'), blocking=False):
            delete(left)
    found = graphs(folder)
    total = sum(graph.num_bytes for graph in found)
    while found and total > most_bytes:
        oldest = found.pop()
        total -= oldest.num_bytes
        with suppress(OSError):
            delete(oldest.folder)  # who has mapped it keeps it


def _manifest(place: Path) -> dict[str, Any]:
    with open_file(place / MANIFEST) as stream:
        content = json.load(stream)
    if content.pop('check') != fingerprint(json.dumps(content)):
        raise ValueError('its content does not have its checksum')
    return content


def _read(place: Path, text: str) -> AttentionGraph | None:
    """The graph that lies there, if it is whole."""
    if not place.exists():
        return None
    try:
        content = _manifest(place)
        if content['made_from'] != text:
            raise ValueError('it is made from something else')
        found: dict[str, Tensor] = {}
        for name, file in content['files'].items():
            if _state(place / f'{name}.npy') != file['state']:
                raise ValueError(f'{name}.npy has changed')
            array = map_array(place / f'{name}.npy', file['size'], file['dtype'])
            found[name] = torch.from_numpy(array)
        out = [found.get(f'out_{name}') for name in ('indptr', 'target', 'edge_type', 'edge_id')]
        graph = InNeighbors(
            found['indptr'],
            found['source'],
            found['edge_type'],
            content['num_sources'],
            OutNeighbors(*out),  # type: ignore[arg-type]
        )
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        logging.info(f'the attention graph kept in {place} is not as it was written, and is made anew')
        return None
    with suppress(OSError):
        (place / USED).touch()
    edge_attr = found.get('edge_attr')
    return AttentionGraph(graph, None if edge_attr is None else edge_attr.view(graph.num_edges, -1))


def _state(file: Path) -> list[int]:
    """Size, inode, and the times of change of content and entry in nanoseconds."""
    stat = file.lstat()
    return [stat.st_size, stat.st_ino, stat.st_mtime_ns, stat.st_ctime_ns]
