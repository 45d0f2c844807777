"""A loss, a prediction or a weight that is no finite number ends a run, and is never chosen or reported."""

from __future__ import annotations

import math

from torch import Tensor, nn
from torch.nn.utils import get_total_norm
from torch_geometric.graphgym.config import cfg

from graphgps_ext.errors import NotFiniteError


def not_finite(what: str, epoch: int, *, steps: int) -> NotFiniteError:
    """The error that says what is not finite, its likely causes and the keys that mend them.

    Args:
        what: that is not finite, such as `the training loss`.
        epoch: the one in which it was seen.
        steps: of the optimizer until then; one or none: the first loss is computed before its first step.
    """
    clipped = '' if cfg.optim.clip_grad_norm else ', set optim.clip_grad_norm True'
    causes = [
        f'the steps are too large (lower optim.base_lr {cfg.optim.base_lr:g}{clipped})',
        f'the features are too large (set dataset.normalize_features, now '
        f'{cfg.dataset.normalize_features}, or scale them)',
    ]
    if steps <= 1:
        causes.reverse()
    if cfg.train.precision == '16-mixed':
        causes.insert(0, 'float16 ends at 65,504 (set train.precision bf16-mixed or 32-true, now 16-mixed)')
    return NotFiniteError(f'epoch {epoch}: {what} is not finite. Most likely {", or ".join(causes)}')


def refuse_losses(losses: dict[str, float], epoch: int, *, steps: int) -> None:
    """Refuses losses, by the name of their nodes, that are not finite.

    Raises:
        NotFiniteError: naming them.
    """
    names = [f'{name} ({value})' for name, value in losses.items() if not math.isfinite(value)]
    if names:
        raise not_finite(f'the loss, or a prediction, of the {" and ".join(names)} nodes', epoch, steps=steps)


def refuse_weights(model: nn.Module, epoch: int, *, steps: int) -> None:
    """Refuses a model whose predictions may be finite while a weight or a running statistic is not.

    Raises:
        NotFiniteError: with the number of tensors.
    """
    tensors = [tensor for tensor in (*model.parameters(), *model.buffers()) if tensor.is_floating_point()]
    if not get_total_norm(tensors, math.inf).isfinite():  # the largest magnitude, in one read
        bad = sum(not bool(tensor.isfinite().all()) for tensor in tensors)
        raise not_finite(f'a number in {bad} of the {len(tensors)} tensors of the model', epoch, steps=steps)


def refuse_predictions(predictions: Tensor, name: str, epoch: int, *, steps: int) -> None:
    """Refuses predictions [n, ·] or attention scores [E] that are to be reported.

    Raises:
        NotFiniteError: with their number.
    """
    bad = int((~predictions.isfinite()).sum())
    if bad:
        raise not_finite(f'a number in {bad} of the {predictions.numel()} {name}', epoch, steps=steps)
