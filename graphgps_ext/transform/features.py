"""Node features made without looking at a label: normalised, and with positional encodings appended."""

from __future__ import annotations

import warnings

import torch
from torch import Tensor
from torch_geometric.data import Data
from torch_geometric.transforms import AddLaplacianEigenvectorPE, AddRandomWalkPE, NormalizeFeatures
from torch_geometric.utils import coalesce, remove_self_loops, to_undirected

from graphgps_ext.errors import ConfigError

NORMALIZATIONS = ('none', 'row', 'standardize')
SEED = 0  # of the eigenvectors' start and signs: runs, and both stages, share one encoding


def normalize_features(x: Tensor, how: str) -> Tensor:
    """[N, F] float to [N, F].

    Args:
        x: the features.
        how: 'none'; 'row', PyG's NormalizeFeatures (the smallest of all values is subtracted, then a row is
            divided by its sum if that is above one); 'standardize', see :func:`standardize`.

    Raises:
        ValueError: for another `how`.
    """
    if how not in NORMALIZATIONS:
        raise ConfigError(
            f'normalisation needs one of {", ".join(NORMALIZATIONS)}, got {how!r} '
            f'(set dataset.normalize_features)'
        )
    if how == 'row':
        return NormalizeFeatures()(Data(x=x)).x
    return standardize(x) if how == 'standardize' else x


def standardize(x: Tensor) -> Tensor:
    """Each column of [N, F] to mean 0 and population standard deviation 1; a constant column to 0."""
    std, mean = torch.std_mean(x, dim=0, correction=0)
    # Rounding leaves a constant column a tiny deviation.
    constant = std <= 1e-6 * mean.abs().clamp(min=torch.finfo(x.dtype).tiny)
    return (x - mean) / std.masked_fill(constant, torch.inf)


def positional_encodings(
    edge_index: Tensor, num_nodes: int, *, eigenvectors: int = 0, walk_length: int = 0
) -> Tensor:
    """[N, eigenvectors + walk_length] float32: PyG's encodings of the undirected graph, columns standardised.

    Eigenvectors of the symmetric normalised Laplacian (Dwivedi et al. 2020), with random but fixed signs, and
    return probabilities of random walks (Dwivedi et al. 2022). They are standardised because an entry of an
    eigenvector is of the size 1/√N. Walks multiply sparse [N, N] matrices, which fill up with length: 16
    steps on the 10,000 nodes of Minesweeper took 5 s and 1.6 GB, 4 steps on Actor's 7,600 nodes 11 s and
    2.4 GB (one CPU core).

    Args:
        edge_index: [2, E] int64; duplicates and self-loops are dropped, reverses added.
        num_nodes: N.
        eigenvectors: how many, those of the smallest eigenvalues after the first; 0 = none.
        walk_length: lengths 1 to `walk_length`; 0 = none.

    Raises:
        ValueError: if the graph has too few nodes for that many eigenvectors.
    """
    if eigenvectors >= num_nodes:
        raise ConfigError(
            f'a graph of {num_nodes} nodes has fewer than {eigenvectors} eigenvectors after the first '
            f'(set posenc_LapPE.eigen.max_freqs)'
        )
    edge_index = coalesce(to_undirected(remove_self_loops(edge_index)[0], num_nodes=num_nodes))
    data = Data(edge_index=edge_index, num_nodes=num_nodes)
    columns = []
    if eigenvectors:
        start = torch.randn(num_nodes, generator=torch.Generator().manual_seed(SEED)).numpy()
        options = {'v0': start} if num_nodes >= AddLaplacianEigenvectorPE.SPARSE_THRESHOLD else {}
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(SEED)
            transform = AddLaplacianEigenvectorPE(eigenvectors, 'pe', is_undirected=True, **options)
            columns.append(transform(data).pe.float())
    if walk_length:
        with warnings.catch_warnings():  # torch calls sparse matrices a beta feature
            warnings.filterwarnings('ignore', '.*[Ss]parse.*', UserWarning)
            columns.append(AddRandomWalkPE(walk_length, 'pe')(data).pe.float())
    return standardize(torch.cat(columns, dim=1)) if columns else torch.empty(num_nodes, 0)
