"""Config group `gt`: graph transformers (GraphGPS's names where the meaning is the same)."""

from yacs.config import CfgNode

from graphgps_ext.config.group import ensure_group


def gt_config(cfg: CfgNode) -> None:
    """Adds the keys of the group `gt`."""
    ensure_group(cfg, 'gt')

    # Number of transformer layers L.
    cfg.gt.layers = 4

    # Number of attention heads H; has to divide gt.dim_hidden. An estimator has one.
    cfg.gt.n_heads = 4

    # Hidden width d = H·C; has to equal gnn.dim_inner.
    cfg.gt.dim_hidden = 32

    # Dropout after the attention and in the feed-forward block.
    cfg.gt.dropout = 0.0

    # Dropout of the input features (node encoder spex_linear_node, and the networks pyg_*).
    cfg.gt.input_dropout = 0.0

    # Add the input of the attention and of the feed-forward block to their outputs.
    cfg.gt.residual = True

    # Normalisation after the attention and after the feed-forward block; at most one of the three.
    cfg.gt.batch_norm = True

    # PyG's GraphNorm over all nodes of the batch (what the estimator uses).
    cfg.gt.graph_norm = False

    # LayerNorm over the channels of each node.
    cfg.gt.layer_norm = False

    # Normalise the input of the attention and of the feed-forward block rather than their outputs.
    cfg.gt.pre_norm = False

    # Add a linear map of the attention's input to its output, beside or instead of gt.residual.
    cfg.gt.linear_skip = False

    # Have a feed-forward block in each layer; without it a ReLU and one dropout stand in its place.
    cfg.gt.feed_forward = True

    # Message passing over the graph's own edges, added to each layer's attention: none, gcn, sage, gat or
    # gatedgcn.
    cfg.gt.local_gnn_type = 'none'

    # Edges of that message passing: graph (all edges of the graph, in a full batch), or sampled (those edges
    # of the layer's sampled table that are edges of the graph; in mini-batches too, not for gcn).
    cfg.gt.local_edges = 'graph'

    # What the head sees: none (the last layer), or all layers by PyG's JumpingKnowledge: cat, max or lstm.
    cfg.gt.jumping_knowledge = 'none'

    # Implementation of the attention operator: torch (reference), numba (CPU), triton (CUDA), or auto:
    # the one of the device.
    cfg.gt.attention_impl = 'auto'

    # Global attention of pyg_gps: multihead (all pairs of nodes, time in N²) or performer (linear in N).
    cfg.gt.attn_type = 'multihead'

    # Weight of the GCN in pyg_sgformer's sum; the attention has the rest.
    cfg.gt.graph_weight = 0.5

    # Where the β of pyg_polynormer starts, the learned share of a layer's plain output beside its polynomial
    # term, per layer and channel; if negative, β is a sigmoid that starts near a half.
    cfg.gt.beta = -1.0

    # Epochs in which pyg_polynormer trains its local attention alone; then the global one joins the best of
    # them.
    cfg.gt.local_epochs = 0
