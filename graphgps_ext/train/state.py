"""A model in training, on its devices, and its checkpoints."""

from __future__ import annotations

import logging
import math
import shutil
from contextlib import AbstractContextManager
from typing import Any, cast

import torch
from torch_geometric.graphgym.config import cfg
from torch_geometric.graphgym.optim import create_optimizer, create_scheduler

from graphgps_ext.errors import DataError
from graphgps_ext.files import written
from graphgps_ext.train.checkpoint import read_checkpoint, write_checkpoint
from graphgps_ext.train.finite import refuse_weights
from graphgps_ext.train.module import NodeClassifier
from graphgps_ext.train.run import Run

MIXED = {'bf16-mixed': torch.bfloat16, '16-mixed': torch.float16}


class Training:
    """What moves a model, and what of it a checkpoint holds.

    Args:
        run: the run, with its devices and precision.
        model: moved to the device, with parameters in their precision.

    Attributes:
        network: the model as it is called in training and evaluation: several devices share its gradients.
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
        self.scheduler = create_scheduler(self.optimizer, cfg.optim)
        self.parts = {
            'state_dict': self.model,
            'optimizer': self.optimizer,
            'scheduler': self.scheduler,
            'precision': fabric.strategy.precision,
        }
        self.epoch = self.global_step = self.labels = 0
        self.best, self.best_epoch = -math.inf, -1

    def forward_context(self) -> AbstractContextManager[Any]:
        """What a forward pass runs in.

        With mixed precision a weight is cast anew wherever it is used, as by Lightning's Trainer: Fabric's
        context would keep the casts of one pass, which a replayed CUDA graph then takes for those of all.
        """
        precision = self.fabric.strategy.precision.precision
        if precision in MIXED:
            return torch.autocast(self.fabric.device.type, MIXED[precision], cache_enabled=False)
        return self.fabric.autocast()

    def save(self, name: str) -> None:
        """Writes a checkpoint, whole or not at all, from the process of rank 0."""
        if self.fabric.is_global_zero:
            content = {
                'epoch': self.epoch,
                'global_step': self.global_step,
                'best': self.best,
                'best_epoch': self.best_epoch,
                'stats': self.run.stats.state(),
                **{part: of.state_dict() for part, of in self.parts.items()},
            }
            write_checkpoint(self.run.checkpoint(name), content, run=self.run.identity)
        self.fabric.barrier()

    def start(self) -> None:
        """Begins, or goes on after a checkpoint (see :meth:`graphgps_ext.train.run.Run.start`)."""
        path = self.run.start()
        if path is None:
            return
        logging.info(f'resuming from {path}')
        checkpoint = read_checkpoint(path, run=self.run.identity)
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
            self.save('best.ckpt')

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
            with written(kept) as path:
                shutil.copyfile(self.run.checkpoint('best.ckpt'), path)
        self.fabric.barrier()
        checkpoint = read_checkpoint(kept, run=self.run.identity)
        self.model.load_state_dict(checkpoint['state_dict'])
        rates = self.optimizer.state_dict()['param_groups']
        self.optimizer.load_state_dict({**checkpoint['optimizer'], 'param_groups': rates})
        logging.info(f'epoch {self.epoch}: on from epoch {checkpoint["epoch"]}, the best so far')
