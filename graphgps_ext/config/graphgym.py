"""GraphGym's own keys, as far as this package reads them: which values they may have."""

from graphgps_ext.config.key import Limits

SAMPLERS = ('full_batch', 'spex_neighbor', 'random_node')
EVALUATIONS = (*SAMPLERS, 'spex_layerwise')
ACCELERATORS = ('auto', 'cpu', 'cuda', 'gpu', 'mps')
LARGEST_SEED = 2**32 - 1  # of Lightning's seed_everything
LIMITS = {
    'print': Limits(choices=('both', 'file', 'stdout')),
    'accelerator': Limits(choices=ACCELERATORS, hint='CUDA_VISIBLE_DEVICES chooses among several GPUs'),
    'devices': Limits(low=1, most=1024),
    'out_dir': Limits(path=True),
    'seed': Limits(low=0, most=LARGEST_SEED),
    'round': Limits(low=0, most=15),
    'num_workers': Limits(low=0, most=1024),
    'num_threads': Limits(low=1, most=4096),
    'metric_best': Limits(choices=('auto', 'auc', 'accuracy', 'f1', 'precision', 'recall')),
    'dataset.name': Limits(folder=True),
    'dataset.dir': Limits(path=True),
    'dataset.task': Limits(choices=('node',)),
    'dataset.task_type': Limits(choices=('classification', 'classification_multilabel')),
    'dataset.split': Limits(item=float),
    'train.sampler': Limits(choices=SAMPLERS),
    'train.batch_size': Limits(low=1, most=10**9),
    'train.eval_period': Limits(low=1, most=10**9),
    'train.ckpt_period': Limits(low=1, most=10**9),
    'val.sampler': Limits(choices=EVALUATIONS),
    'model.size_average': Limits(choices=('mean',)),
    'gnn.layers_pre_mp': Limits(low=0, most=100),
    'gnn.layers_mp': Limits(low=0, most=1000),
    'gnn.layers_post_mp': Limits(low=0, most=100),
    'gnn.dim_inner': Limits(low=1, most=2**14),
    'gnn.att_heads': Limits(low=1, most=1024),
    'gnn.dropout': Limits(low=0, high=1, high_open=True),
    'bn.eps': Limits(low=0, low_open=True),
    'bn.mom': Limits(low=0, high=1),
    'optim.base_lr': Limits(low=0, low_open=True, high=1e30),
    'optim.weight_decay': Limits(low=0),
    'optim.momentum': Limits(low=0, high=1, high_open=True),
    'optim.lr_decay': Limits(low=0, low_open=True),
    'optim.steps': Limits(item=int, low=1, most=10**9),
    'optim.max_epoch': Limits(low=1, most=10**6),
}
# Those that only PyG's models as networks of ours need.
LIMITS_OF_PLAIN_NETWORKS = {'gnn.layers_mp': Limits(low=1, most=1000)}
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
# Keys of names that only GraphGym's stock network reads.
REGISTRIES_OF_STOCK_NETWORK = {'gnn.layer_type': 'layer_dict', 'gnn.stage_type': 'stage_dict'}
# Names that GraphGym registers for other tasks or data than one graph with numbers as node features.
OF_OTHER_TASKS = {
    'gnn.head': ('edge', 'graph', 'link_pred', 'spex_attention_scores'),
    'dataset.node_encoder_name': ('Atom', 'Integer'),
    'dataset.edge_encoder_name': ('Bond',),
    'gnn.layer_type': ('generaledgeconv', 'generalsampleedgeconv', 'splineconv'),
}
