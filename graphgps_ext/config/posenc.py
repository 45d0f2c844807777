"""Config groups `posenc_LapPE` and `posenc_RWSE`: positional encodings (GraphGPS's names)."""

from graphgps_ext.config.key import Key

KEYS = {
    'posenc_LapPE.enable': Key(
        False,
        "Append eigenvectors of the graph's Laplacian to the node features (PyG's "
        'AddLaplacianEigenvectorPE).',
    ),
    'posenc_LapPE.eigen.max_freqs': Key(
        8, 'Number of eigenvectors, those of the smallest eigenvalues after the first.', low=1, most=1000
    ),
    'posenc_RWSE.enable': Key(
        False, "Append the probabilities that a random walk is back where it began (PyG's AddRandomWalkPE)."
    ),
    'posenc_RWSE.walk_length': Key(
        16, 'Longest such walk: one column for each length from 1 up.', low=1, most=1000
    ),
}
