"""Config groups `posenc_LapPE` and `posenc_RWSE`: positional encodings (GraphGPS's names)."""

from yacs.config import CfgNode

from graphgps_ext.config.group import ensure_group


def posenc_config(cfg: CfgNode) -> None:
    """Adds keys to the groups `posenc_LapPE` and `posenc_RWSE`."""
    ensure_group(ensure_group(cfg, 'posenc_LapPE'), 'eigen')
    ensure_group(cfg, 'posenc_RWSE')

    # Append eigenvectors of the graph's Laplacian to the node features (PyG's AddLaplacianEigenvectorPE).
    cfg.posenc_LapPE.enable = False

    # Number of eigenvectors, those of the smallest eigenvalues after the first.
    cfg.posenc_LapPE.eigen.max_freqs = 8

    # Append the probabilities that a random walk is back where it began (PyG's AddRandomWalkPE).
    cfg.posenc_RWSE.enable = False

    # Longest such walk: one column for each length from 1 up.
    cfg.posenc_RWSE.walk_length = 16
