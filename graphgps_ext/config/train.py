"""What graphgps_ext adds to GraphGym's config groups `train` and `optim`."""

from yacs.config import CfgNode

from graphgps_ext.config.group import ensure_group


def train_config(cfg: CfgNode) -> None:
    """Adds keys to the groups `train` and `optim`."""
    ensure_group(cfg, 'train')
    ensure_group(cfg, 'optim')

    # Recipe: spexphormer_estimator (stage 1), spexphormer (stage 2), full_graph (everything else).
    cfg.train.mode = 'full_graph'

    # Start anew where results of another config lie; without it they are refused. Deletes them.
    cfg.train.overwrite = False

    # Name of the run's folder; empty: its seed, or its split with run_multiple_splits.
    cfg.train.run_id = ''

    # Lightning's precision: 32-true, bf16-mixed, 16-mixed, 64-true.
    cfg.train.precision = '32-true'

    # Warm-up epochs of the scheduler cosine_with_warmup.
    cfg.optim.num_warmup_epochs = 5

    # Clip the norm of the gradient.
    cfg.optim.clip_grad_norm = True

    # Largest norm of the gradient.
    cfg.optim.clip_grad_norm_value = 1.0

    # Batches whose gradients are added up before a step.
    cfg.optim.batch_accumulation = 1
