"""What graphgps_ext adds to GraphGym's config group `dataset`."""

from graphgps_ext.config.key import Key
from graphgps_ext.transform.features import NORMALIZATIONS
from graphgps_ext.transform.split import SPLIT_MODES

KEYS = {
    'dataset.split_mode': Key(
        'standard',
        "Split: standard (the data set's own), random (ratios dataset.split), or class-balanced "
        '(round(ratio·N/C) random training nodes of each class, the rest halved).',
        choices=SPLIT_MODES,
    ),
    'dataset.split_index': Key(
        0, "Which of the data set's own splits (split_mode: standard).", low=0, most=10**6
    ),
    'dataset.split_seed': Key(0, 'Seed of a random or class-balanced split; independent of the run seed.'),
    'dataset.planetoid_split': Key(
        'public',
        'Which own splits of Planetoid: public, or the ten of geom-gcn.',
        choices=('public', 'geom-gcn'),
        when={'dataset.format': ('PyG-Planetoid',)},
    ),
    'dataset.path': Key(
        '',
        "A user's own graph (format: file): path of one .npz or .pt file.",
        path=True,
        when={'dataset.format': ('file',)},
    ),
    'dataset.hash_again': Key(
        False, 'Hash the files of the data set and of attention scores again, whatever is remembered of them.'
    ),
    'dataset.grid_side': Key(
        100,
        'Side of the embedded Minesweeper grid (format: grid).',
        low=2,
        most=5000,
        when={'dataset.format': ('grid',)},
    ),
    'dataset.grid_seed': Key(0, 'Seed of the embedded Minesweeper grid.', when={'dataset.format': ('grid',)}),
    'dataset.normalize_features': Key(
        'none',
        "Normalisation of the node features, which sees no label: none, row (each row's features sum to one, "
        "by PyG's NormalizeFeatures), or standardize (each column to mean 0 and deviation 1).",
        choices=NORMALIZATIONS,
    ),
    'share.num_nodes': Key(
        0,
        'Number of nodes of the graph, for the network pyg_linkx; run/main.py sets it, as GraphGym sets '
        'dim_in.',
    ),
    'run_multiple_splits': Key(
        [],
        'Several splits in one call: split indices (standard) or split seeds (random, class-balanced).',
        item=int,
        different=True,
        low=0,
        most=2**63 - 1,
    ),
}
