"""Optimizers and schedulers that GraphGym lacks, under GraphGPS's names, registered only where free."""

from collections.abc import Iterator

from torch.nn import Parameter
from torch.optim import AdamW, Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR, LinearLR, LRScheduler, SequentialLR
from torch_geometric.graphgym.register import optimizer_dict, scheduler_dict


def adamw_optimizer(params: Iterator[Parameter], base_lr: float, weight_decay: float) -> AdamW:
    """AdamW (Loshchilov & Hutter 2019)."""
    return AdamW(params, lr=base_lr, weight_decay=weight_decay)


def cosine_with_warmup_scheduler(optimizer: Optimizer, num_warmup_epochs: int, max_epoch: int) -> LRScheduler:
    """Linear warm-up over `num_warmup_epochs`, then a cosine to zero at `max_epoch`; steps are epochs."""
    cosine = CosineAnnealingLR(optimizer, T_max=max(1, max_epoch - num_warmup_epochs))
    if num_warmup_epochs < 1:
        return cosine
    # Epoch 0 trains at 1/(n + 1) of the rate, not at zero.
    warmup = LinearLR(optimizer, 1 / (num_warmup_epochs + 1), total_iters=num_warmup_epochs)
    return SequentialLR(optimizer, [warmup, cosine], milestones=[num_warmup_epochs])


optimizer_dict.setdefault('adamW', adamw_optimizer)
scheduler_dict.setdefault('cosine_with_warmup', cosine_with_warmup_scheduler)
