"""Optimizers whose step is one pass over all parameters."""

from __future__ import annotations

from typing import Any

from torch.optim import SGD, Adam, AdamW, Optimizer

FUSED = (Adam, AdamW, SGD)  # on a GPU their steps do the same each time, so that a CUDA graph can hold them
ARGUMENTS = (
    'lr', 'betas', 'eps', 'weight_decay', 'amsgrad', 'maximize', 'momentum', 'dampening', 'nesterov',
)  # fmt: skip


def fused(optimizer: Optimizer) -> Optimizer:
    """The same optimizer with torch's fused step, on a GPU with its state there; others as they are.

    torch takes a dozen operations for each parameter by default on a CPU, and some for all on a GPU.
    """
    if type(optimizer) not in FUSED:
        return optimizer
    groups = [
        {name: value for name, value in group.items() if name in ('params', *ARGUMENTS)}
        for group in optimizer.param_groups
    ]
    on_device = {'capturable': True} if type(optimizer) is not SGD and groups[0]['params'][0].is_cuda else {}
    made: Any = type(optimizer)
    return made(groups, **on_device, fused=True)
