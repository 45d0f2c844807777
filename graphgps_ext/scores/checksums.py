"""Checksums of what lies in a score store, and the fingerprints that both stages compare."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from graphgps_ext.errors import DataError
from graphgps_ext.fingerprints import fingerprint
from graphgps_ext.graph import InNeighbors, index_dtype

INDPTR, SOURCE, EDGE_TYPE = GRAPH_FILES = 'indptr.npy', 'source.npy', 'edge_type.npy'


def layer_file(layer: int) -> str:
    """Name of the file of a layer."""
    return f'layer_{layer}.npy'


def graph_arrays(graph: InNeighbors) -> dict[str, Tensor]:
    """The arrays of an attention graph by the names of their files, in the dtypes of the store."""
    source = graph.source.to(index_dtype(graph.num_sources))
    return {INDPTR: graph.indptr, SOURCE: source, EDGE_TYPE: graph.edge_type}


def graph_fingerprint(graph: InNeighbors) -> str:
    """Of the edges and their types in their order, independent of the device."""
    checksums = {name: fingerprint(array) for name, array in graph_arrays(graph).items()}
    return fingerprint_of_checksums(checksums, graph.num_sources)


def fingerprint_of_checksums(checksums: Mapping[str, str], num_sources: int) -> str:
    """The same of a graph whose arrays have these checksums: known without reading them once more."""
    return fingerprint(str(num_sources), *(checksums[name] for name in GRAPH_FILES))


def split_fingerprint(train_mask: Tensor, val_mask: Tensor, test_mask: Tensor) -> str:
    """Of a split, given as three boolean masks [N]."""
    for name, mask in (('train_mask', train_mask), ('val_mask', val_mask), ('test_mask', test_mask)):
        if mask.dtype != torch.bool or mask.shape != (train_mask.numel(),):
            raise DataError(
                f'{name} needs shape ({train_mask.numel()},) and dtype bool, '
                f'got {tuple(mask.shape)} {mask.dtype} (key dataset.split_index)'
            )
    return fingerprint(train_mask, val_mask, test_mask)
