"""A model in training, on its devices, and its checkpoints."""

from __future__ import annotations

import logging
import math
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any, cast

import torch
from torch import Tensor
from torch_geometric.data import Data
from torch_geometric.graphgym.config import cfg
from torch_geometric.graphgym.optim import create_optimizer, create_scheduler

from graphgps_ext.errors import DataError
from graphgps_ext.files import written
from graphgps_ext.optimizer.fused import fused
from graphgps_ext.train.checkpoint import read_checkpoint, write_checkpoint
from graphgps_ext.train.finite import refuse_weights
from graphgps_ext.train.module import NodeClassifier
from graphgps_ext.train.run import Run
from graphgps_ext.train.stats import SPLITS
from graphgps_ext.train.tally import Tally

MIXED = {'bf16-mixed': torch.bfloat16, '16-mixed': torch.float16}
HOW_TO_STEP = ('fused', 'capturable', 'foreach')  # of an optimizer on this device, not on that of before
SAVE_SECONDS = 5  # after which a checkpoint is due, or after this many times what the last one took:
SAVE_SHARE = 20


class Training:
    """What moves a model, and what of it a checkpoint holds.

    Args:
        run: the run, with its devices and precision.
        model: moved to the device, with parameters in their precision.

    Attributes:
        network: the model as it is called in training and evaluation: several devices share its gradients.
        tallies: what the epoch has predicted in each split, of the steps that count there.
        results: of steps that count for themselves: numbers of each split, as a tally gives them.
        epoch: the one that runs; at first, the one to begin with.
        global_step: number of steps of the optimizer.
        labels: number of those whose loss the gradient is the mean of, until the optimizer's step.
        best: what the best epoch so far was chosen by.
        best_epoch: that epoch; -1 before there is one, and the model's own once training has ended.
    """

    def __init__(self, run: Run, model: NodeClassifier) -> None:
        self.run = run
        self.fabric = fabric = run.fabric
        self.model: NodeClassifier = cast(
            Any, fabric.to_device(fabric.strategy.precision.convert_module(model))
        )
        self.network: Any = fabric.strategy.setup_module(self.model)
        self.optimizer = create_optimizer(self.model.model.parameters(), cfg.optim)
        self.rates: list[Tensor] = []  # of the groups of parameters, where a step is on a GPU
        # Under 16-mixed fused steps scale gradients themselves, which rules out clipping them.
        if fabric.strategy.precision.precision != '16-mixed':
            self.optimizer = fused(self.optimizer)
            if fabric.device.type == 'cuda':
                self.rates = [torch.zeros((), device=fabric.device) for _ in self.optimizer.param_groups]
        self.scheduler = create_scheduler(self.optimizer, cfg.optim)
        self.parts = {
            'state_dict': self.model,
            'optimizer': self.optimizer,
            'scheduler': self.scheduler,
            'precision': fabric.strategy.precision,
        }
        self.tallies = {split: Tally(model.metrics[split], fabric.world_size) for split in SPLITS}
        self.results: dict[str, Tensor] = {}
        self.epoch = self.global_step = self.labels = 0
        self.best, self.best_epoch = -math.inf, -1
        self._best = _Snapshot()
        self._saved, self._save_seconds = time.monotonic(), 0.0

    def forward_context(self) -> AbstractContextManager[Any]:
        """What a forward pass runs in.

        With mixed precision a weight is cast anew wherever it is used, as by Lightning's Trainer: Fabric's
        context would keep the casts of one pass, which a replayed CUDA graph then takes for those of all.
        """
        precision = self.fabric.strategy.precision.precision
        if precision in MIXED:
            return torch.autocast(self.fabric.device.type, MIXED[precision], cache_enabled=False)
        return self.fabric.autocast()

    def prepare(self, batch: Data) -> Data:
        """Puts on a full batch what its network would make of the edges anew in every pass, if it can."""
        if hasattr(self.model.model, 'prepare'):
            with self.forward_context():
                self.model.model.prepare(batch)
        return batch

    def write_rates(self) -> None:
        """Tells the device the learning rates of the epoch."""
        for rate, group in zip(self.rates, self.optimizer.param_groups, strict=False):
            rate.fill_(group['lr'])

    @contextmanager
    def rates_on_device(self) -> Iterator[None]:
        """Within it the optimizer reads :attr:`rates`, so that a CUDA graph of its step sees each change."""
        groups = self.optimizer.param_groups
        told = [group['lr'] for group in groups]
        for group, rate in zip(groups, self.rates or told, strict=True):
            group['lr'] = rate
        try:
            yield
        finally:
            for group, rate in zip(groups, told, strict=True):
                group['lr'] = rate

    def read_results(self, splits: Sequence[str]) -> dict[str, dict[str, float]]:
        """Loss and metrics of each split in this epoch; the device is waited for."""
        taken = {split: self.results.get(split) for split in splits}
        found = {split: self.tallies[split].take() if t is None else t for split, t in taken.items()}
        self.results = {}
        numbers = iter(torch.cat([*found.values()]).tolist())
        return {split: {name: next(numbers) for name in self.tallies[split].names} for split in splits}

    def content(self) -> dict[str, Any]:
        """What a checkpoint of this moment holds."""
        return {
            'epoch': self.epoch,
            'global_step': self.global_step,
            'best': self.best,
            'best_epoch': self.best_epoch,
            'stats': self.run.stats.state(),
            **{part: of.state_dict() for part, of in self.parts.items()},
        }

    def is_due(self) -> bool:
        """Whether a checkpoint is: every `train.ckpt_period` epochs, at the end, and every few seconds."""
        if (self.epoch + 1) % cfg.train.ckpt_period == 0 or self.epoch + 1 == cfg.optim.max_epoch:
            return True
        return time.monotonic() - self._saved > max(SAVE_SECONDS, SAVE_SHARE * self._save_seconds)

    def save(self) -> None:
        """Writes, from the process of rank 0, what is new: the epochs, the best one, and the last."""
        if not self.fabric.is_global_zero:
            return
        start = time.monotonic()
        self._write_best()
        last = _on_cpu(self.content())
        write_checkpoint(self.run.checkpoint('last.ckpt'), last, run=self.run.identity)
        self._saved = time.monotonic()
        self._save_seconds = self._saved - start

    def _write_best(self) -> None:
        """The best epoch, if it is a new one, and before it the record of all epochs until now."""
        self.run.stats.write()
        if (best := self._best.take_new()) is not None:
            write_checkpoint(self.run.checkpoint('best.ckpt'), _on_cpu(best), run=self.run.identity)

    def start(self) -> None:
        """Begins, or goes on after a checkpoint (see :meth:`graphgps_ext.train.run.Run.start`)."""
        path = self.run.start()
        if path is None:
            return
        logging.info(f'resuming from {path}')
        checkpoint = read_checkpoint(path, run=self.run.identity)
        checkpoint['optimizer']['param_groups'] = [
            {**group, **{name: own[name] for name in HOW_TO_STEP if name in own}}
            for group, own in zip(
                checkpoint['optimizer']['param_groups'], self.optimizer.param_groups, strict=True
            )
        ]
        for name, part in self.parts.items():
            part.load_state_dict(checkpoint[name])
        self.epoch, self.global_step = checkpoint['epoch'] + 1, checkpoint['global_step']
        self.best, self.best_epoch = checkpoint['best'], checkpoint['best_epoch']

    def keep_best(self, selection: float) -> None:
        """Keeps this epoch if it is the first, or better than the best so far; of equals the first stays.

        Raises:
            NotFiniteError: if the model of an epoch to be kept is not finite.
        """
        if self.best_epoch < 0 or selection > self.best:
            refuse_weights(self.model, self.epoch)
            self.best, self.best_epoch = selection, self.epoch
            if self.fabric.is_global_zero:
                self._best.keep(self.content())

    def take_best(self) -> None:
        """Gives the model the weights of the best epoch.

        Raises:
            DataError: if they have been damaged or replaced since.
            MissingFileError: if they are gone.
        """
        self.fabric.barrier()  # until rank 0 has written all there is
        path = self.run.checkpoint('best.ckpt')
        checkpoint = read_checkpoint(path, run=self.run.identity)
        if checkpoint['epoch'] != self.best_epoch:
            raise DataError(
                f'{path} is of epoch {checkpoint["epoch"]}, but the best one was epoch {self.best_epoch}'
            )
        self.model.load_state_dict(checkpoint['state_dict'])
        self.run.checkpoint('phase.ckpt').unlink(missing_ok=True)  # nothing goes back to it any more

    def return_to_best(self) -> None:
        """Goes on from the best epoch so far: its weights and the optimizer's moments, not its learning rate.

        A copy of that checkpoint is kept as `phase.ckpt`: a run killed soon after may find another best one.
        """
        if not math.isfinite(self.best):  # no epoch has been evaluated
            return
        kept = self.run.checkpoint('phase.ckpt')
        if self.fabric.is_global_zero and not kept.is_file():
            self._write_best()
            with written(kept) as path:
                shutil.copyfile(self.run.checkpoint('best.ckpt'), path)
        self.fabric.barrier()
        checkpoint = read_checkpoint(kept, run=self.run.identity)
        self.model.load_state_dict(checkpoint['state_dict'])
        rates = self.optimizer.state_dict()['param_groups']
        self.optimizer.load_state_dict({**checkpoint['optimizer'], 'param_groups': rates})
        logging.info(f'epoch {self.epoch}: on from epoch {checkpoint["epoch"]}, the best so far')


class _Snapshot:
    """The content of a checkpoint, copied where its tensors lie until somebody writes it."""

    def __init__(self) -> None:
        self._tensors: list[Tensor] = []
        self._content: dict[str, Any] | None = None

    def keep(self, content: dict[str, Any]) -> None:
        """Copies a content over the one before."""
        live: list[Tensor] = []
        _with_tensors(content, live.append)
        if [t.shape for t in live] != [t.shape for t in self._tensors]:
            self._tensors = [torch.empty_like(tensor) for tensor in live]
        torch._foreach_copy_(self._tensors, live)
        copies = iter(self._tensors)
        self._content = _with_tensors(content, lambda _: next(copies))

    def take_new(self) -> dict[str, Any] | None:
        """The content, unless it was taken before."""
        content, self._content = self._content, None
        return content


def _on_cpu(content: dict[str, Any]) -> dict[str, Any]:
    return _with_tensors(content, Tensor.cpu)


def _with_tensors(value: Any, change: Callable[[Tensor], Any]) -> Any:
    """Dicts and lists with their tensors changed, in their order."""
    if isinstance(value, Tensor):
        return change(value)
    if isinstance(value, dict):
        return {key: _with_tensors(part, change) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_with_tensors(part, change) for part in value]
    return value
