"""GraphGym's own keys, as far as this package reads them: which values they may have."""

from graphgps_ext.config.key import Limits

SAMPLERS = ('full_batch', 'spex_neighbor', 'random_node')
LIMITS = {
    'seed': Limits(low=0),
    'num_workers': Limits(low=0),
    'num_threads': Limits(low=1),
    'dataset.task': Limits(choices=('node',)),
    'dataset.task_type': Limits(choices=('classification', 'classification_multilabel')),
    'train.sampler': Limits(choices=SAMPLERS),
    'train.batch_size': Limits(low=1),
    'train.eval_period': Limits(low=1),
    'train.ckpt_period': Limits(low=1),
    'val.sampler': Limits(choices=SAMPLERS),
    'optim.max_epoch': Limits(low=1),
    'gnn.dropout': Limits(low=0, high=1, high_open=True),
}
# Those that only PyG's models as networks of ours read.
LIMITS_OF_PLAIN_NETWORKS = {
    'gnn.layers_mp': Limits(low=1),
    'gnn.dim_inner': Limits(low=1),
    'gnn.att_heads': Limits(low=1),
}
# Keys that name something registered, with the name of its registry.
REGISTRIES = {
    'model.type': 'network_dict',
    'gnn.head': 'head_dict',
    'gnn.act': 'act_dict',
    'dataset.node_encoder_name': 'node_encoder_dict',
    'dataset.edge_encoder_name': 'edge_encoder_dict',
    'optim.optimizer': 'optimizer_dict',
    'optim.scheduler': 'scheduler_dict',
}
