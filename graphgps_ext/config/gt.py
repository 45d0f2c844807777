"""Config group `gt`: graph transformers (GraphGPS's names where the meaning is the same)."""

from graphgps_ext.config.key import Key
from graphgps_ext.layer.local import LOCAL_GNN_TYPES
from graphgps_ext.ops.attention import IMPLEMENTATIONS

KEYS = {
    'gt.layers': Key(4, 'Number of transformer layers L.', low=1, most=1000),
    'gt.n_heads': Key(
        4, 'Number of attention heads H; has to divide gt.dim_hidden. An estimator has one.', low=1, most=1024
    ),
    'gt.dim_hidden': Key(32, 'Hidden width d = H·C; has to equal gnn.dim_inner.', low=1, most=2**14),
    'gt.dropout': Key(
        0.0, 'Dropout after the attention and in the feed-forward block.', low=0, high=1, high_open=True
    ),
    'gt.input_dropout': Key(
        0.0,
        'Dropout of the input features (node encoder spex_linear_node, and the networks pyg_*).',
        low=0,
        high=1,
        high_open=True,
    ),
    'gt.residual': Key(
        True, 'Add the input of the attention and of the feed-forward block to their outputs.'
    ),
    'gt.batch_norm': Key(
        True, 'Normalisation after the attention and after the feed-forward block; at most one of the three.'
    ),
    'gt.graph_norm': Key(False, "PyG's GraphNorm over all nodes of the batch (what the estimator uses)."),
    'gt.layer_norm': Key(False, 'LayerNorm over the channels of each node.'),
    'gt.pre_norm': Key(
        False, 'Normalise the input of the attention and of the feed-forward block rather than their outputs.'
    ),
    'gt.linear_skip': Key(
        False, "Add a linear map of the attention's input to its output, beside or instead of gt.residual."
    ),
    'gt.feed_forward': Key(
        True, 'Have a feed-forward block in each layer; without it a ReLU and one dropout stand in its place.'
    ),
    'gt.local_gnn_type': Key(
        'none',
        "Message passing over the graph's own edges, added to each layer's attention.",
        choices=('none', *LOCAL_GNN_TYPES),
    ),
    'gt.local_edges': Key(
        'graph',
        'Edges of that message passing: graph (all edges of the graph, in a full batch), or sampled (those '
        "edges of the layer's sampled table that are edges of the graph; in mini-batches too, not for gcn).",
        choices=('graph', 'sampled'),
    ),
    'gt.jumping_knowledge': Key(
        'none',
        "What the head sees: none (the last layer), or all layers by PyG's JumpingKnowledge: cat, max or "
        'lstm.',
        choices=('none', 'cat', 'max', 'lstm'),
    ),
    'gt.attention_impl': Key(
        'auto',
        'Implementation of the attention operator: torch (reference), numba (CPU), triton (CUDA), or auto: '
        'the one of the device.',
        choices=('auto', *IMPLEMENTATIONS),
    ),
    'gt.attn_type': Key(
        'multihead',
        'Global attention of pyg_gps: multihead (all pairs of nodes, time in N²) or performer (linear in N).',
        choices=('multihead', 'performer'),
    ),
    'gt.graph_weight': Key(
        0.5, "Weight of the GCN in pyg_sgformer's sum; the attention has the rest.", low=0, high=1
    ),
    'gt.beta': Key(
        -1.0,
        "Where the β of pyg_polynormer starts, the learned share of a layer's plain output beside its "
        'polynomial term, per layer and channel; if negative, β is a sigmoid that starts near a half.',
        high=1,
    ),
    'gt.local_epochs': Key(
        0,
        'Epochs in which pyg_polynormer trains its local attention alone; then the global one joins the best '
        'of them.',
        low=0,
        most=10**6,
    ),
}
