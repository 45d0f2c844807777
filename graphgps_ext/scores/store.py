"""Writing and reading a score store: nothing is written that is no weight, nothing read that has changed."""

from __future__ import annotations

import errno
import math
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from graphgps_ext.errors import DataError, MissingFileError, OtherResultsError
from graphgps_ext.files import new_folder
from graphgps_ext.fingerprints import fingerprint, remembered
from graphgps_ext.graph import InNeighbors, index_dtype
from graphgps_ext.ops.numba_threads import row_ranges
from graphgps_ext.scores.checksums import (
    EDGE_TYPE,
    GRAPH_FILES,
    INDPTR,
    SOURCE,
    fingerprint_of_checksums,
    graph_arrays,
    layer_file,
)
from graphgps_ext.scores.files import AGAIN, map_array, write_array
from graphgps_ext.scores.manifest import (
    Manifest,
    read_manifest,
    refuse_differences,
    refuse_faults,
    write_manifest,
)

_BLOCK = 1 << 24  # edges per step of a check: bounds its memory
_SUM_TOLERANCE = 1e-3


@dataclass(frozen=True)
class AttentionScores:
    """Scores as loaded: tensors mapped from the files (writing to them changes memory, never the files).

    Args:
        layers: L tensors [E] float32, layer 0 nearest the input.
        graph: the attention graph they belong to.
        manifest: where they come from.
    """

    layers: tuple[Tensor, ...]
    graph: InNeighbors
    manifest: Manifest


def save(
    path: str | Path,
    graph: InNeighbors,
    layers: Iterable[Tensor],
    manifest: Manifest,
    *,
    overwrite: bool = False,
) -> Manifest:
    """Write scores, graph and manifest to the folder `path`, which then exists whole or not at all.

    Args:
        path: folder to make; its parents are made too.
        graph: the attention graph.
        layers: L tensors [E] on any device, taken one at a time.
        manifest: must describe `graph` and the number of layers; its checksums are made here.
        overwrite: replace what lies there.

    Returns:
        The manifest as written, with checksums.

    Raises:
        FileExistsError: if `path` exists and `overwrite` is not set.
        ValueError: if scores have another shape, are NaN, infinite or negative, or a row does not sum to one;
            if the manifest describes another graph or holds values of wrong types.
        OSError: if writing fails, with the number of bytes needed.
    """
    path = Path(path)
    if os.path.lexists(path) and not overwrite:
        raise OtherResultsError(
            f'{path} exists already: choose another out_dir or run id, or ask to overwrite it'
        )
    arrays = {name: array.cpu().numpy() for name, array in graph_arrays(graph).items()}
    indptr = arrays[INDPTR]
    _check_graph(arrays, graph.num_sources, f'the graph for {path}')
    checksums = {name: fingerprint(array) for name, array in arrays.items()}
    actual = dict(
        num_nodes=graph.num_nodes,
        num_edges=graph.num_edges,
        graph_fingerprint=fingerprint_of_checksums(checksums, graph.num_sources),
    )
    refuse_differences(manifest, actual, f'the manifest for {path} does not describe the graph')
    needed = sum(array.nbytes for array in arrays.values()) + 4 * graph.num_edges * manifest.num_layers
    try:
        with new_folder(path) as folder:
            for name, array in arrays.items():
                write_array(folder / name, array)
            count = 0
            for layer in layers:
                array = layer.detach().to('cpu', torch.float32).numpy()
                _check_layer(array, indptr, f'layer {count} for {path}', sum_to_one=True)
                checksums[layer_file(count)] = fingerprint(array)
                write_array(folder / layer_file(count), array)
                count += 1
            if count != manifest.num_layers:
                raise ValueError(
                    f'scores for {path} need {manifest.num_layers} layers, got {count} (key gt.layers)'
                )
            manifest = replace(manifest, checksums=checksums)
            refuse_faults(manifest)
            write_manifest(folder, manifest)
    except OSError as error:
        full = ' (the disk is full)' if error.errno in (errno.ENOSPC, errno.EDQUOT) else ''
        raise OSError(
            error.errno,
            f'attention scores were not written{full}: {path} needs {needed:,} bytes; '
            f'make room or choose another out_dir: {error}',
        ) from error
    return manifest


def load(
    path: str | Path,
    *,
    expect: Mapping[str, object] | None = None,
    allow_fewer_layers: bool = False,
    hash_again: bool = False,
) -> AttentionScores:
    """Read scores, refusing what does not fit and what is not as it was written.

    What is read, and no more, is compared with its checksums: one pass over the graph and these layers, which
    is remembered for as long as a file stays as it is (:func:`graphgps_ext.fingerprints.remembered`).

    The tensors are mapped. They stay as they are when stage 1 writes its scores anew, or the folder is moved
    or deleted: that leaves the mapped files alone. Somebody who writes into these very files changes the
    numbers, and who cuts one ends the process (SIGBUS); nothing is promised against that.

    Args:
        path: folder written by :func:`save`.
        expect: fields of :class:`Manifest` with the values wanted; all differences are reported together.
        allow_fewer_layers: accept scores of more layers than `expect['num_layers']`; the first are returned.
        hash_again: compute checksums, whatever is remembered.

    Raises:
        FileNotFoundError: if there are no scores.
        ValueError: if the manifest differs from `expect`, a file is missing or damaged, or a score is NaN,
            infinite or negative, or those of a node sum to zero.
    """
    path = Path(path)
    manifest = read_manifest(path)
    wanted = dict(expect or {})
    num_layers = manifest.num_layers
    asked = wanted.get('num_layers')
    if allow_fewer_layers and isinstance(asked, int) and asked < num_layers:
        num_layers = asked
        del wanted['num_layers']
    refuse_differences(manifest, wanted, f'the scores in {path} were made for something else', AGAIN)
    arrays = {name: _read(path, name, manifest, hash_again) for name in GRAPH_FILES}
    layers = [_read(path, layer_file(layer), manifest, hash_again) for layer in range(num_layers)]
    _refuse_other_graph(path, manifest)
    _check_graph(arrays, manifest.num_nodes, f'the graph in {path}')
    for i, layer in enumerate(layers):
        _check_layer(layer, arrays[INDPTR], f'layer {i} in {path}', sum_to_one=False)
    indptr, source, edge_type = (torch.from_numpy(arrays[name]) for name in GRAPH_FILES)
    graph = InNeighbors(indptr, source, edge_type, num_sources=manifest.num_nodes)
    return AttentionScores(tuple(torch.from_numpy(layer) for layer in layers), graph, manifest)


def verify(path: str | Path, *, hash_again: bool = False) -> Manifest:
    """The manifest of scores all of whose files are there and as they were written.

    Costs one pass of hashing, which is remembered; after that a look at each file.

    Raises:
        FileNotFoundError: if there are no scores.
        ValueError: if a file is missing or damaged; the message names it.
    """
    path = Path(path)
    manifest = read_manifest(path)
    for name in manifest.checksums:
        _read(path, name, manifest, hash_again)
    _refuse_other_graph(path, manifest)
    return manifest


def _read(path: Path, name: str, manifest: Manifest, hash_again: bool) -> NDArray[Any]:
    """Map an array whose content has the checksum that the manifest names."""
    file = path / name
    nodes, edges = manifest.num_nodes, manifest.num_edges
    index = np.int32 if index_dtype(nodes) == torch.int32 else np.int64
    kinds = {INDPTR: (nodes + 1, np.int64), SOURCE: (edges, index), EDGE_TYPE: (edges, np.int8)}
    try:
        array = map_array(file, *kinds.get(name, (edges, np.float32)))
    except MissingFileError as error:  # the store is there, but no longer whole
        raise DataError(str(error)) from None
    key = f'array in {file.absolute()}'
    found = remembered(key, lambda: ([file], {'array': fingerprint(array)}), again=hash_again)
    if found['array'] != manifest.checksums[name]:
        raise DataError(f'{file} is damaged: its checksum is not the one in the manifest ({AGAIN})')
    return array


def _refuse_other_graph(path: Path, manifest: Manifest) -> None:
    """After the checksums: those of the graph give its fingerprint."""
    if fingerprint_of_checksums(manifest.checksums, manifest.num_nodes) != manifest.graph_fingerprint:
        raise DataError(f'the attention graph in {path} is not the one that its manifest names ({AGAIN})')


def _check_graph(arrays: Mapping[str, NDArray[Any]], num_sources: int, title: str) -> None:
    """Refuse rows that do not cover the edges one after the other, and ids or types that are none."""
    indptr, source, edge_type = (arrays[name] for name in GRAPH_FILES)
    if indptr[0] != 0 or indptr[-1] != source.size or (indptr[1:] < indptr[:-1]).any():
        raise DataError(f'{title}: {INDPTR} needs to ascend from 0 to {source.size} ({AGAIN})')
    if source.size and not (source.min() >= 0 and source.max() < num_sources):
        raise DataError(f'{title}: {SOURCE} needs ids from 0 to {num_sources - 1} ({AGAIN})')
    if edge_type.size and edge_type.min() < 0:
        raise DataError(f'{title}: {EDGE_TYPE} needs types from 0 on, got {edge_type.min()} ({AGAIN})')


def _check_layer(
    layer: NDArray[np.float32], indptr: NDArray[np.int64], name: str, *, sum_to_one: bool
) -> None:
    """Refuse another shape, values that are no weights, and rows that sum to zero (or not to one)."""
    if layer.shape != (int(indptr[-1]),):
        raise DataError(f'{name}: needs shape ({int(indptr[-1])},), got {layer.shape}')
    for first, last in row_ranges(indptr, _BLOCK):
        start, stop = int(indptr[first]), int(indptr[last])
        block = layer[start:stop]
        if not block.size:
            continue
        if not (float(block.min()) >= 0 and math.isfinite(float(block.max()))):
            edge = start + int(np.argmin((block >= 0) & np.isfinite(block)))
            node = int(np.searchsorted(indptr, edge, side='right')) - 1
            raise DataError(
                f'{name}: scores need to be finite and at least 0, '
                f'got {layer[edge]} at edge {edge} of node {node} ({AGAIN})'
            )
        rows = np.flatnonzero(np.diff(indptr[first : last + 1]))
        total = np.add.reduceat(block, indptr[first + rows] - start, dtype=np.float64)
        bad = np.abs(total - 1) > _SUM_TOLERANCE if sum_to_one else total <= 0
        if bad.any():
            row = int(np.argmax(bad))
            raise DataError(
                f'{name}: the scores of a node need to sum to {"one" if sum_to_one else "more than zero"}, '
                f'got {total[row]:.6g} at node {first + int(rows[row])} ({AGAIN})'
            )
