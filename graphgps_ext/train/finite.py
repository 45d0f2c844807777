"""A loss, a prediction or a weight that is no finite number ends a run, and is never chosen or reported."""

from __future__ import annotations

import math

from torch import Tensor, nn
from torch.nn.utils import get_total_norm
from torch_geometric.graphgym.config import cfg

from graphgps_ext.errors import NotFiniteError


def refuse_losses(losses: dict[str, float], epoch: int, *, steps: int) -> None:
    """Refuses losses that are not finite.

    Args:
        losses: by the name of their nodes, `training` among them.
        epoch: their epoch.
        steps: of the optimizer until now; the first training loss was computed before the first of them.

    Raises:
        NotFiniteError: naming them.
    """
    names = [f'{name} ({value})' for name, value in losses.items() if not math.isfinite(value)]
    if names:
        at_once = steps <= 1 and not math.isfinite(losses['training'])
        raise _error(f'the loss, or a prediction, of the {" and ".join(names)} nodes', epoch, at_once)


def refuse_weights(model: nn.Module, epoch: int) -> None:
    """Refuses a model whose predictions may be finite while a weight or a running statistic is not.

    Raises:
        NotFiniteError: with the number of tensors.
    """
    weights = [*model.parameters()]
    tensors = weights + [buffer for buffer in model.buffers() if buffer.is_floating_point()]
    if not get_total_norm(tensors, math.inf).isfinite():  # the largest magnitude, in one read
        bad = [not bool(tensor.isfinite().all()) for tensor in tensors]
        what = f'a number in {sum(bad)} of the {len(tensors)} tensors of the model'
        raise _error(what, epoch, not any(bad[: len(weights)]))


def refuse_predictions(predictions: Tensor, name: str, epoch: int) -> None:
    """Refuses predictions [n, ·] or attention scores [E] that are to be reported.

    Raises:
        NotFiniteError: with their number.
    """
    bad = int((~predictions.isfinite()).sum())
    if bad:
        raise _error(f'a number in {bad} of the {predictions.numel()} {name}', epoch)


def _error(what: str, epoch: int, before_steps: bool = False) -> NotFiniteError:
    """Says what is not finite, the likely causes, and the keys that mend them."""
    clipped = '' if cfg.optim.clip_grad_norm else ', set optim.clip_grad_norm True'
    causes = [
        f'the steps are too large (lower optim.base_lr {cfg.optim.base_lr:g}{clipped})',
        f'the features are too large (set dataset.normalize_features, now '
        f'{cfg.dataset.normalize_features}, or scale them)',
    ]
    if before_steps:  # no step has anything to do with it
        causes.reverse()
    if cfg.train.precision == '16-mixed':
        causes.insert(0, 'float16 ends at 65,504 (set train.precision bf16-mixed or 32-true, now 16-mixed)')
    return NotFiniteError(f'epoch {epoch}: {what} is not finite. Most likely {", or ".join(causes)}')
