"""A model in training, on its devices, and its checkpoints."""

from __future__ import annotations

import logging
import math
import shutil
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, cast

import torch
from lightning_fabric import Fabric
from lightning_fabric.utilities.rank_zero import rank_zero_only
from torch_geometric.graphgym.config import cfg
from torch_geometric.graphgym.optim import create_optimizer, create_scheduler

from graphgps_ext.errors import DataError, MissingFileError
from graphgps_ext.files import written
from graphgps_ext.train.finite import refuse_weights
from graphgps_ext.train.module import NodeClassifier

FORMAT = 2  # of a checkpoint; the first one was that of Lightning's Trainer
MIXED = {'bf16-mixed': torch.bfloat16, '16-mixed': torch.float16}


def launch() -> Fabric:
    """The devices of the config; with several, this same command is started for each further one."""
    fabric = Fabric(accelerator=cfg.accelerator, devices=cfg.devices or 1, precision=cfg.train.precision)
    fabric.launch()
    # Until now that of a whole job, by variables of its scheduler.
    cast(Any, rank_zero_only).rank = fabric.global_rank
    return fabric


class Training:
    """What moves a model, and what of it a checkpoint holds.

    Args:
        fabric: devices and precision.
        model: moved to the device, with parameters in their precision.

    Attributes:
        network: the model as it is called in training and evaluation: several devices share its gradients.
        epoch: the one that runs; at first, the one to begin with.
        global_step: number of steps of the optimizer.
        labels: number of those whose loss the gradient is the mean of, until the optimizer's step.
        best: what the best epoch so far was chosen by.
        best_epoch: that epoch; -1 before there is one, and the model's own once training has ended.
    """

    def __init__(self, fabric: Fabric, model: NodeClassifier) -> None:
        self.fabric = fabric
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
        self.folder = Path(cfg.run_dir) / 'ckpt'
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
                'format': FORMAT,
                'epoch': self.epoch,
                'global_step': self.global_step,
                'best': self.best,
                'best_epoch': self.best_epoch,
                **{name: part.state_dict() for name, part in self.parts.items()},
            }
            with written(self.folder / name) as path:
                torch.save(content, path)
        self.fabric.barrier()

    def resume(self) -> None:
        """Goes on after the last checkpoint, if there is one."""
        path = self.folder / 'last.ckpt'
        if not path.is_file():
            return
        logging.info(f'resuming from {path}')
        checkpoint = self._read(path)
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
            FileNotFoundError: if a run that was taken up again has lost them.
        """
        self.fabric.barrier()  # until rank 0 has written all there is
        checkpoint = self._read(self._best_checkpoint())
        self.model.load_state_dict(checkpoint['state_dict'])
        self.best_epoch = checkpoint['epoch']
        (self.folder / 'phase.ckpt').unlink(missing_ok=True)  # nothing goes back to it any more

    def return_to_best(self) -> None:
        """Goes on from the best epoch so far: its weights and the optimizer's moments, not its learning rate.

        A copy of that checkpoint is kept as `phase.ckpt`: a run killed soon after may find another best one.
        """
        if not math.isfinite(self.best):  # no epoch has been evaluated
            return
        kept = self.folder / 'phase.ckpt'
        if self.fabric.is_global_zero and not kept.is_file():
            with written(kept) as path:
                shutil.copyfile(self._best_checkpoint(), path)
        self.fabric.barrier()
        checkpoint = self._read(kept)
        self.model.load_state_dict(checkpoint['state_dict'])
        rates = self.optimizer.state_dict()['param_groups']
        self.optimizer.load_state_dict({**checkpoint['optimizer'], 'param_groups': rates})
        logging.info(f'epoch {self.epoch}: on from epoch {checkpoint["epoch"]}, the best so far')

    def _best_checkpoint(self) -> Path:
        path = self.folder / 'best.ckpt'
        if not path.is_file():
            raise MissingFileError(
                f'{path}, the best epoch by validation, is gone, and no epoch after the resume was better: '
                f'delete {self.folder} to train again'
            )
        return path

    def _read(self, path: Path) -> dict[str, Any]:
        checkpoint = torch.load(path, map_location='cpu', weights_only=False)
        if checkpoint.get('format') != FORMAT:
            raise DataError(
                f'{path} was written by another version of graphgps_ext, which this one cannot continue: '
                f'delete {self.folder} to train again'
            )
        return checkpoint
