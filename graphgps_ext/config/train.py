"""What graphgps_ext adds to GraphGym's config groups `train` and `optim`."""

from graphgps_ext.config.key import Key

KEYS = {
    'train.mode': Key(
        'full_graph',
        'Recipe: spexphormer_estimator (stage 1), spexphormer (stage 2), full_graph (everything else).',
        choices=('spexphormer_estimator', 'spexphormer', 'full_graph'),
    ),
    'train.overwrite': Key(
        False,
        'Start anew where results of another config, of other data or scores, or damaged ones lie; without '
        'it they are refused. Deletes them.',
    ),
    'train.run_id': Key(
        '',
        "Name of the run's folder; empty: its seed, or its split with run_multiple_splits.",
        folder=True,
    ),
    'train.precision': Key(
        '32-true',
        "Lightning's precision, of training, evaluation, report and attention scores alike.",
        choices=('32-true', 'bf16-mixed', '16-mixed', '64-true'),
    ),
    'train.cuda_graphs': Key(
        True,
        'On a GPU, record the steps on full batches as CUDA graphs and replay them; False: kernel by kernel.',
    ),
    'optim.num_warmup_epochs': Key(
        5, 'Warm-up epochs of the scheduler cosine_with_warmup.', low=0, most=10**6
    ),
    'optim.clip_grad_norm': Key(True, 'Clip the norm of the gradient.'),
    'optim.clip_grad_norm_value': Key(1.0, 'Largest norm of the gradient.', low=0, low_open=True),
    'optim.batch_accumulation': Key(
        1,
        'Batches to a step, as if they were one: the loss is the mean over all their labels. The last group '
        'of an epoch may be smaller; a full batch is a group by itself.',
        low=1,
        most=10**6,
    ),
}
