"""Config group `prep`: the attention graph (Exphormer's names)."""

from graphgps_ext.config.key import Key
from graphgps_ext.transform.expander import ALGORITHMS

KEYS = {
    'prep.undirected': Key(True, 'Make the input edges undirected before anything else.'),
    'prep.exp': Key(True, 'Add the edges of a random regular expander.'),
    'prep.exp_deg': Key(
        15,
        'Number r of random permutations or cycles; a node gets 2r expander in-edges.',
        low=1,
        most=1000,
        when={'prep.exp': (True,)},
    ),
    'prep.exp_algorithm': Key(
        'permutation',
        'What the expander is made of: permutation (r random permutations) or hamiltonian (r random cycles).',
        choices=ALGORITHMS,
        when={'prep.exp': (True,)},
    ),
    'prep.exp_seed': Key(
        0, 'Seed of the expander; both stages need the same one.', low=0, when={'prep.exp': (True,)}
    ),
    'prep.add_self_loops': Key(True, 'Add one self-loop per node.'),
    'prep.num_virt_node': Key(
        0,
        'Number of virtual global nodes, each joined to every node in both directions (Exphormer).',
        low=0,
        most=1000,
    ),
    'prep.cache_dir': Key(
        '',
        'Folder in which attention graphs of large data sets are kept, each built once for all runs and '
        "processes of a machine; empty: in the user's cache folder, or in $GRAPHGPS_EXT_CACHE.",
        path=True,
    ),
    'prep.cache_gb': Key(
        50.0,
        'GB that kept attention graphs may take: those not used for the longest time go first; 0 keeps none.',
        low=0,
    ),
    'prep.edge_attr': Key(
        False, "Feed the data set's edge features to the attention as an additive term of the logits."
    ),
}
