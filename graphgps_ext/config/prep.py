"""Config group `prep`: the attention graph (Exphormer's names)."""

from yacs.config import CfgNode

from graphgps_ext.config.group import ensure_group


def prep_config(cfg: CfgNode) -> None:
    """Adds the keys of the group `prep`."""
    ensure_group(cfg, 'prep')

    # Make the input edges undirected before anything else.
    cfg.prep.undirected = True

    # Add the edges of a random regular expander.
    cfg.prep.exp = True

    # Number r of random permutations or cycles; a node gets 2r expander in-edges.
    cfg.prep.exp_deg = 15

    # What the expander is made of: permutation (r random permutations) or hamiltonian (r random cycles).
    cfg.prep.exp_algorithm = 'permutation'

    # Seed of the expander; both stages need the same one.
    cfg.prep.exp_seed = 0

    # Largest number of nodes for which the spectral gap of the expander is checked (larger draws pass).
    cfg.prep.exp_check_max_nodes = 20000

    # Draws of the expander before giving up on its spectral gap.
    cfg.prep.exp_max_tries = 10

    # Add one self-loop per node.
    cfg.prep.add_self_loops = True

    # Number of virtual global nodes, each joined to every node in both directions (Exphormer).
    cfg.prep.num_virt_node = 0

    # Feed the data set's edge features to the attention as an additive term of the logits.
    cfg.prep.edge_attr = False
