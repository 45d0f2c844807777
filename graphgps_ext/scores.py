"""The score store: the attention scores of stage 1, the only thing that crosses from one stage to the other.

Format, version 1: a folder that any tool can read, without pickle.

    manifest.json     the fields of :class:`Manifest`, UTF-8
    indptr.npy        int64 [N + 1]    the attention graph in CSR by target: the in-edges of node i are
    source.npy        int32 [E]        indptr[i]:indptr[i + 1] (source is int64 from 2³¹ nodes on)
    edge_type.npy     int8 [E]         0 graph, 1 expander, 2 self-loop, 3 node→virtual, 4 virtual→node
    layer_0.npy ...   float32 [E]      one file per layer, layer 0 nearest the input: softmax over the
                                       in-edges of a node: each non-empty row sums to one

The arrays are plain NumPy files (version 1.0, little endian): `numpy.load(file, mmap_mode='r')` reads them.
The folder appears whole or not at all: it is written beside its place and renamed.
"""

from __future__ import annotations

import errno
import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from graphgps_ext.errors import DataError, MissingFileError, OtherResultsError
from graphgps_ext.files import map_array, new_folder, write_array, write_bytes
from graphgps_ext.graph import InNeighbors, index_dtype
from graphgps_ext.ops.numba_threads import row_ranges
from graphgps_ext.provenance import versions

FORMAT_VERSION = 1
MANIFEST = 'manifest.json'
_BLOCK = 1 << 24  # edges per step of a check: bounds its memory
_SUM_TOLERANCE = 1e-3
_AGAIN = 'run stage 1 again, key spex.estimator'

# Which config key settles a field; a difference is reported with it.
_KEYS = {
    'dataset': 'dataset.name',
    'num_nodes': 'dataset.name',
    'num_edges': 'prep.exp, prep.exp_deg, prep.add_self_loops or prep.num_virt_node',
    'num_layers': 'gt.layers, or spex.allow_fewer_layers to use the first of more, or spex.score_layers',
    'graph_fingerprint': 'dataset.name or prep.*',
    'split_fingerprint': 'dataset.split_mode, dataset.split_seed or dataset.split_index',
    'split': 'dataset.split_mode, dataset.split_seed or dataset.split_index',
    'expander_algorithm': 'prep.exp_algorithm',
    'expander_degree': 'prep.exp_deg',
    'expander_seed': 'prep.exp_seed',
    'width': 'gt.dim_hidden',
    'seed': 'spex.estimator_seed',
}


@dataclass(frozen=True)
class Manifest:
    """What the scores belong to and where they come from.

    Args:
        dataset: name of the data set.
        num_nodes: rows of the attention graph, virtual nodes included.
        num_edges: E, edges of the attention graph.
        num_layers: L.
        graph_fingerprint: :func:`graph_fingerprint` of the attention graph.
        split_fingerprint: :func:`split_fingerprint` of the masks that the estimator was trained on.
        split: the same in words, such as `random, seed 0`.
        expander_algorithm: `permutation` or `hamiltonian`.
        expander_degree: r; 0 = no expander.
        expander_seed: seed of the expander's draw.
        width: hidden channels of the estimator.
        seed: run seed of the estimator.
        epoch: the chosen epoch.
        temperature: τ of that epoch, at which the scores were taken.
        metric: name of the validation metric.
        metric_value: its value at that epoch.
        versions: of Python, torch, torch_geometric and graphgps_ext.
        format_version: of this folder's format.
    """

    dataset: str
    num_nodes: int
    num_edges: int
    num_layers: int
    graph_fingerprint: str
    split_fingerprint: str
    split: str
    expander_algorithm: str
    expander_degree: int
    expander_seed: int
    width: int
    seed: int
    epoch: int
    temperature: float
    metric: str
    metric_value: float
    versions: Mapping[str, str] = field(default_factory=versions)
    format_version: int = FORMAT_VERSION


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


def graph_fingerprint(graph: InNeighbors) -> str:
    """Hash of the edges and their types in their order, independent of the device."""
    digest = hashlib.blake2b(f'{graph.num_nodes} {graph.num_sources}'.encode(), digest_size=16)
    for tensor in (graph.indptr, graph.source.to(index_dtype(graph.num_sources)), graph.edge_type):
        digest.update(tensor.contiguous().cpu().numpy().data)
    return digest.hexdigest()


def split_fingerprint(train_mask: Tensor, val_mask: Tensor, test_mask: Tensor) -> str:
    """Hash of a split, given as three boolean masks [N]."""
    digest = hashlib.blake2b(digest_size=16)
    for name, mask in (('train_mask', train_mask), ('val_mask', val_mask), ('test_mask', test_mask)):
        if mask.dtype != torch.bool or mask.shape != (train_mask.numel(),):
            raise DataError(
                f'{name} needs shape ({train_mask.numel()},) and dtype bool, '
                f'got {tuple(mask.shape)} {mask.dtype} (key dataset.split_index)'
            )
        digest.update(str(mask.numel()).encode() + np.packbits(mask.cpu().numpy()).tobytes())
    return digest.hexdigest()


def save(
    path: str | Path,
    graph: InNeighbors,
    layers: Iterable[Tensor],
    manifest: Manifest,
    *,
    overwrite: bool = False,
) -> None:
    """Write scores, graph and manifest to the folder `path`, which then exists whole or not at all.

    Args:
        path: folder to make; its parents are made too.
        graph: the attention graph.
        layers: L tensors [E] on any device, taken one at a time.
        manifest: must describe `graph` and the number of layers.
        overwrite: replace an existing folder.

    Raises:
        FileExistsError: if `path` exists and `overwrite` is not set.
        ValueError: if scores have another shape, are NaN, infinite or negative, or a row does not sum to one;
            if the manifest describes another graph.
        OSError: if writing fails, with the number of bytes needed.
    """
    path = Path(path)
    if path.exists() and not overwrite:
        raise OtherResultsError(
            f'{path} exists already: choose another out_dir or run id, or ask to overwrite it'
        )
    actual = dict(
        num_nodes=graph.num_nodes, num_edges=graph.num_edges, graph_fingerprint=graph_fingerprint(graph)
    )
    _refuse_differences(manifest, actual, f'the manifest for {path} does not describe the graph')
    needed = 8 * graph.indptr.numel() + graph.num_edges * (
        graph.source.itemsize + 1 + 4 * manifest.num_layers
    )
    indptr, source = graph.indptr.cpu().numpy(), graph.source.to(index_dtype(graph.num_sources))
    try:
        with new_folder(path) as folder:
            write_array(folder / 'indptr.npy', indptr)
            write_array(folder / 'source.npy', source.cpu().numpy())
            write_array(folder / 'edge_type.npy', graph.edge_type.cpu().numpy())
            count = 0
            for layer in layers:
                array = layer.detach().to('cpu', torch.float32).numpy()
                _check_layer(array, indptr, f'layer {count} for {path}', sum_to_one=True)
                write_array(folder / f'layer_{count}.npy', array)
                count += 1
            if count != manifest.num_layers:
                raise ValueError(
                    f'scores for {path} need {manifest.num_layers} layers, got {count} (key gt.layers)'
                )
            write_bytes(folder / MANIFEST, json.dumps(asdict(manifest), indent=2).encode())
    except OSError as error:
        full = ' (the disk is full)' if error.errno in (errno.ENOSPC, errno.EDQUOT) else ''
        raise OSError(
            error.errno,
            f'attention scores were not written{full}: {path} needs {needed:,} bytes; '
            f'make room or choose another out_dir: {error}',
        ) from error


def load(
    path: str | Path, *, expect: Mapping[str, object] | None = None, allow_fewer_layers: bool = False
) -> AttentionScores:
    """Read scores, refusing what does not fit.

    Args:
        path: folder written by :func:`save`.
        expect: fields of :class:`Manifest` with the values wanted; all differences are reported together.
        allow_fewer_layers: accept scores of more layers than `expect['num_layers']`; the first are returned.

    Raises:
        FileNotFoundError: if there are no scores.
        ValueError: if the manifest differs from `expect`, a file is damaged, or a score is NaN, infinite or
            negative, or those of a node sum to zero.
    """
    path = Path(path)
    manifest = read_manifest(path)
    wanted = dict(expect or {})
    num_layers = manifest.num_layers
    asked = wanted.get('num_layers')
    if allow_fewer_layers and isinstance(asked, int) and asked < num_layers:
        num_layers = asked
        del wanted['num_layers']
    _refuse_differences(manifest, wanted, f'the scores in {path} were made for something else')
    nodes, edges = manifest.num_nodes, manifest.num_edges
    index = np.int32 if index_dtype(nodes) == torch.int32 else np.int64
    try:
        indptr = map_array(path / 'indptr.npy', nodes + 1, np.int64)
        source = map_array(path / 'source.npy', edges, index)
        edge_type = map_array(path / 'edge_type.npy', edges, np.int8)
        layers = [map_array(path / f'layer_{i}.npy', edges, np.float32) for i in range(num_layers)]
    except ValueError as error:
        raise DataError(f'{error} ({_AGAIN})') from error
    graph = InNeighbors(
        torch.from_numpy(indptr), torch.from_numpy(source), torch.from_numpy(edge_type), num_sources=nodes
    )
    if graph_fingerprint(graph) != manifest.graph_fingerprint:
        raise DataError(
            f'the attention graph in {path} is not the one its manifest names: the files are damaged; '
            f'{_AGAIN}'
        )
    for i, layer in enumerate(layers):
        _check_layer(layer, indptr, f'layer {i} in {path}', sum_to_one=False)
    return AttentionScores(tuple(torch.from_numpy(layer) for layer in layers), graph, manifest)


def find(folder: str | Path, *, split_fingerprint: str, seed: int | None = None) -> Path:
    """The scores for a split among the runs of one stage-1 config: `<folder>/<run id>/scores`.

    Args:
        folder: `<out_dir>/<config name>` of stage 1.
        split_fingerprint: of the split that stage 2 uses.
        seed: run seed wanted; by default the lowest there is on this split.

    Raises:
        FileNotFoundError: if there are no scores at all.
        ValueError: if none fits; the message lists what is there.
    """
    folder = Path(folder)
    found = [(read_manifest(file.parent), file.parent) for file in folder.glob(f'*/scores/{MANIFEST}')]
    if not found:
        raise _missing(folder)
    found.sort(key=lambda item: (item[0].seed, str(item[1])))
    on_split = [item for item in found if item[0].split_fingerprint == split_fingerprint]
    for manifest, path in on_split:
        if seed is None or manifest.seed == seed:
            return path
    listing = ''.join(
        f'\n  {path}: split {m.split} ({m.split_fingerprint}), seed {m.seed}' for m, path in found
    )
    if on_split:
        wanted, key = f'seed {seed} on this split', 'spex.estimator_seed'
    else:
        wanted, key = f'split {split_fingerprint}', _KEYS['split']
    raise DataError(f'no attention scores in {folder} for {wanted} (key {key}); there are:{listing}')


def _missing(path: Path) -> MissingFileError:
    return MissingFileError(f'no attention scores in {path}: run stage 1 first (key spex.estimator)')


def read_manifest(path: Path) -> Manifest:
    """The manifest of the scores in the folder `path`; the arrays are not looked at.

    Raises:
        FileNotFoundError: if there are no scores.
        ValueError: if the manifest is damaged or of another format.
    """
    if not (path / MANIFEST).is_file():
        raise _missing(path)
    try:
        content: dict[str, Any] = json.loads((path / MANIFEST).read_bytes())
        format_version = content['format_version']
        if format_version != FORMAT_VERSION:
            raise DataError(
                f'{path / MANIFEST} needs format_version {FORMAT_VERSION}, got {format_version}: {_AGAIN}'
            )
        return Manifest(**{f.name: content[f.name] for f in fields(Manifest)})
    except (json.JSONDecodeError, UnicodeDecodeError, TypeError, KeyError) as error:
        raise DataError(
            f'{path / MANIFEST} is damaged ({type(error).__name__}: {error}): {_AGAIN}'
        ) from error


def _refuse_differences(manifest: Manifest, wanted: Mapping[str, object], title: str) -> None:
    unknown = wanted.keys() - {f.name for f in fields(Manifest)}
    if unknown:
        raise TypeError(f'a manifest has no {", ".join(sorted(unknown))}')
    differences = [
        f'\n  {name}: wanted {value}, got {getattr(manifest, name)} (key {_KEYS.get(name, "spex.estimator")})'
        for name, value in wanted.items()
        if getattr(manifest, name) != value
    ]
    if differences:
        raise DataError(f'{title}:{"".join(differences)}')


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
                f'got {layer[edge]} at edge {edge} of node {node} ({_AGAIN})'
            )
        rows = np.flatnonzero(np.diff(indptr[first : last + 1]))
        total = np.add.reduceat(block, indptr[first + rows] - start, dtype=np.float64)
        bad = np.abs(total - 1) > _SUM_TOLERANCE if sum_to_one else total <= 0
        if bad.any():
            row = int(np.argmax(bad))
            raise DataError(
                f'{name}: the scores of a node need to sum to {"one" if sum_to_one else "more than zero"}, '
                f'got {total[row]:.6g} at node {first + int(rows[row])} ({_AGAIN})'
            )
