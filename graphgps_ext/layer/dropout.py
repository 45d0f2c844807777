"""Dropout whose random numbers are cheap on a CPU."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

LEVELS = 2**16  # of probabilities: one random number of 64 bits serves four elements


class Dropout(nn.Dropout):
    """torch's module, by :func:`dropout`."""

    def forward(self, input: Tensor) -> Tensor:
        """Of any shape, to the same."""
        return dropout(input, self.p, self.training)


def dropout(x: Tensor, p: float, training: bool) -> Tensor:
    """Zeros elements with probability p, a multiple of 2⁻¹⁶, and scales the others to the same mean.

    On a CPU torch makes a random number of 64 bits for each element, in one thread: a fifth of the time of a
    training step of a wide network. On other devices this is torch's dropout, for any p.
    """
    level = round(p * LEVELS)
    if x.device.type != 'cpu' or not training or level in (0, LEVELS):
        return functional.dropout(x, p, training)
    numbers = torch.empty(-(-x.numel() // 4), dtype=torch.int64).random_(-(2**63), None)
    kept = numbers.view(torch.int16)[: x.numel()].view(x.shape) >= level - LEVELS // 2
    return x * kept * (LEVELS / (LEVELS - level))


def make_cheap(module: nn.Module) -> None:
    """Turns torch's dropouts within `module`, which others have built, into :class:`Dropout`."""
    for part in module.modules():
        if type(part) is nn.Dropout and not part.inplace:
            part.__class__ = Dropout  # it has no state but its probability
