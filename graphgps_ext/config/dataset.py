"""What graphgps_ext adds to GraphGym's config group `dataset`."""

from yacs.config import CfgNode

from graphgps_ext.config.group import ensure_group


def dataset_config(cfg: CfgNode) -> None:
    """Adds keys to the group `dataset`."""
    ensure_group(cfg, 'dataset')
    ensure_group(cfg, 'share')

    # Split: standard (the data set's own), random (ratios dataset.split), or class-balanced
    # (round(ratio·N/C) random training nodes of each class, the rest halved).
    cfg.dataset.split_mode = 'standard'

    # Which of the data set's own splits (split_mode: standard).
    cfg.dataset.split_index = 0

    # Seed of a random or class-balanced split; independent of the run seed.
    cfg.dataset.split_seed = 0

    # Which own splits of Planetoid: public, or the ten of geom-gcn.
    cfg.dataset.planetoid_split = 'public'

    # A user's own graph (format: file): path of one .npz or .pt file.
    cfg.dataset.path = ''

    # Side of the embedded Minesweeper grid (format: grid).
    cfg.dataset.grid_side = 100

    # Seed of the embedded Minesweeper grid.
    cfg.dataset.grid_seed = 0

    # Normalisation of the node features, which sees no label: none, row (each row's features sum to one, by
    # PyG's NormalizeFeatures), or standardize (each column to mean 0 and deviation 1).
    cfg.dataset.normalize_features = 'none'

    # Number of nodes of the graph, for the network pyg_linkx; run/main.py sets it, as GraphGym sets dim_in.
    cfg.share.num_nodes = 0

    # Several splits in one call: split indices (standard) or split seeds (random, class-balanced).
    cfg.run_multiple_splits = []
