"""What happens around each epoch: its random state, its temperature, its record."""

from __future__ import annotations

import logging
import math
import shutil
import time
from pathlib import Path
from typing import Any

import torch
from torch_geometric.data import Data
from torch_geometric.graphgym.config import cfg
from torch_geometric.graphgym.imports import pl
from torch_geometric.graphgym.utils.comp_budget import params_count
from tqdm import tqdm

from graphgps_ext.capabilities import capabilities
from graphgps_ext.sampling import stream_key
from graphgps_ext.train.memory import peak_gpu_mb, peak_rss_mb
from graphgps_ext.train.metrics import best_metric
from graphgps_ext.train.results import append_stats, drop_stats_from

SELECTION = 'selection'  # what the best epoch is chosen by


def temperature(epoch: int, *, decay: float, minimum: float, hold: int) -> float:
    """τ of an epoch: 1 for `hold` epochs, then max(minimum, decay^(epoch − hold)) (METHOD: annealing)."""
    return 1.0 if epoch < hold else max(minimum, decay ** (epoch - hold))


class BatchSeed(pl.Callback):
    """Makes the random state of a training step a function of (seed, epoch, batch): a resumed run repeats it.

    Per step, not per epoch: a data loader takes a random number when its iterator is made, which happens at
    another moment in the first epoch after a resume than in all others.
    """

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Seeds torch (dropout is what remains to be seeded: draws have keys, shuffles a generator)."""
        torch.manual_seed(stream_key(cfg.seed, trainer.current_epoch, batch_idx, trainer.global_rank))


class TemperatureSchedule(pl.Callback):
    """Sets the estimator's temperature before each epoch."""

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """τ for training and for the evaluation of this epoch."""
        pl_module.model.temperature = temperature(
            trainer.current_epoch,
            decay=cfg.spex.temperature_decay,
            minimum=cfg.spex.temperature_min,
            hold=cfg.spex.temperature_hold,
        )


def best_checkpoint(folder: Path) -> Path:
    """The checkpoint of the best epoch by validation, in the folder of a run's checkpoints.

    Raises:
        FileNotFoundError: if a run that was taken up again has lost it.
    """
    path = folder / 'best.ckpt'
    if not path.is_file():
        raise FileNotFoundError(
            f'{path}, the best epoch by validation, is gone, and no epoch after the resume was better: '
            f'delete {folder} to train again'
        )
    return path


class PhasesOfNetwork(pl.Callback):
    """Tells a network that trains in phases which epoch begins; a new phase goes on from the best one so far.

    It takes the model and the optimizer's moments of that epoch; the learning rate stays. A copy of that
    checkpoint is kept as `phase.ckpt`: a run killed soon after may find a best epoch of the new phase.
    """

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Before training and evaluation of this epoch."""
        network, epoch = pl_module.model, trainer.current_epoch
        if network.changes_phase(epoch):
            self._return_to_best(trainer, pl_module)
        network.start_epoch(epoch)

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Nothing goes back to that copy any more."""
        if trainer.is_global_zero:
            (Path(self._best(trainer).dirpath) / 'phase.ckpt').unlink(missing_ok=True)

    def _best(self, trainer: pl.Trainer) -> Any:
        return next(c for c in trainer.checkpoint_callbacks if c.monitor == SELECTION)

    def _return_to_best(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        best = self._best(trainer)
        if not math.isfinite(best.best_model_score):  # no epoch has been evaluated
            return
        folder = Path(best.dirpath)
        kept = folder / 'phase.ckpt'
        if trainer.is_global_zero and not kept.is_file():
            temporary = folder / 'phase.ckpt.tmp'
            shutil.copyfile(best_checkpoint(folder), temporary)
            temporary.replace(kept)
        trainer.strategy.barrier()
        checkpoint = torch.load(kept, map_location='cpu', weights_only=False)
        pl_module.load_state_dict(checkpoint['state_dict'])
        optimizer = trainer.optimizers[0]
        rates = optimizer.state_dict()['param_groups']
        optimizer.load_state_dict({**checkpoint['optimizer_states'][0], 'param_groups': rates})
        logging.info(f'epoch {trainer.current_epoch}: on from epoch {checkpoint["epoch"]}, the best so far')


class EpochRecord(pl.Callback):
    """Writes stats.json and TensorBoard scalars, shows progress, and reports what the epoch is chosen by.

    Args:
        run_dir: folder of the run.
        select_from: first epoch that may be chosen.
    """

    def __init__(self, run_dir: Path, select_from: int = 0) -> None:
        self.run_dir = run_dir
        self.select_from = select_from
        self.bar: Any = None
        self.best = -math.inf
        self.durations: list[float] = []

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Opens the progress bar; a resumed run forgets what it recorded after its checkpoint."""
        first = trainer.current_epoch
        if trainer.is_global_zero:
            drop_stats_from(self.run_dir, first)
        self.bar = tqdm(
            total=trainer.max_epochs,
            initial=first,
            unit='epoch',
            desc=f'{Path(cfg.out_dir).name}/{self.run_dir.name}',
            disable=None if trainer.is_global_zero else True,  # None: only on a terminal
        )

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Starts the clocks."""
        self.start = time.perf_counter()
        self.train_seconds = self.eval_seconds = self.sampling_seconds = 0.0
        self.iterations = 0
        self.evaluated = False

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Data, batch_idx: int
    ) -> None:
        """Counts batches and the time spent sampling them."""
        self.iterations += 1
        self.sampling_seconds += batch.sampling_seconds if 'sampling_seconds' in batch else 0.0
        self.train_seconds = time.perf_counter() - self.start

    def on_validation_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Data,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Counts the time spent sampling for the evaluation."""
        self.evaluated = True
        self.sampling_seconds += batch.sampling_seconds if 'sampling_seconds' in batch else 0.0

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Records the epoch; runs before the checkpoint callbacks."""
        epoch = trainer.current_epoch
        values = {'train': pl_module.epoch_metrics('train')}
        if self.evaluated:
            values |= {split: pl_module.epoch_metrics(split) for split in ('val', 'test')}
        seconds = time.perf_counter() - self.start
        self.durations.append(seconds)
        left = (trainer.max_epochs - epoch - 1) * sum(self.durations) / len(self.durations)
        basic = {
            'lr': trainer.optimizers[0].param_groups[0]['lr'],
            'params': params_count(pl_module.model),
            'time_iter': self.train_seconds / max(1, self.iterations),
            'time_epoch': seconds,
            'time_sampling': self.sampling_seconds,
            'time_waiting': trainer.datamodule.take_seconds_waiting(),
        }
        selection = -math.inf
        if self.evaluated and epoch >= self.select_from:
            selection = values['val'][best_metric(list(values['val']))]
        pl_module.log(SELECTION, selection, sync_dist=trainer.world_size > 1)
        if not trainer.is_global_zero:
            return
        for split, metrics in values.items():
            eta = {'eta': round(left, 2)} if split == 'train' else {}
            append_stats(self.run_dir, split, {'epoch': epoch, **eta, **_rounded({**metrics, **basic})})
            scalars = {f'{split}/{name}': value for name, value in metrics.items()}
            trainer.logger.log_metrics(scalars, step=epoch)
        extra = {
            'lr': basic['lr'],
            'time/epoch': seconds,
            **{f'time/{part}': basic[f'time_{part}'] for part in ('sampling', 'waiting')},
            'memory/peak_rss_mb': peak_rss_mb(),  # up to this epoch
            'kept_share': getattr(trainer.datamodule, 'kept_share', 100.0),  # %
        }
        if torch.cuda.is_available():
            extra['memory/peak_gpu_mb'] = peak_gpu_mb()
        if capabilities(cfg.model.type).temperature:
            extra['temperature'] = pl_module.model.temperature
        trainer.logger.log_metrics(extra, step=epoch)
        self._show(trainer, values, selection)

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: Any) -> None:
        """Closes the progress bar; of Ctrl-C Lightning says nothing itself."""
        self._close()
        if isinstance(exception, KeyboardInterrupt):
            logging.info('interrupted: the same command goes on where it stopped')

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Closes the progress bar."""
        self._close()

    def _close(self) -> None:
        if self.bar is not None:
            self.bar.close()

    def _show(self, trainer: pl.Trainer, values: dict[str, dict[str, float]], selection: float) -> None:
        self.best = max(self.best, selection)
        self.bar.update(1)
        line = {'loss': f'{values["train"]["loss"]:.4f}'}
        if 'val' in values:
            name = best_metric(list(values['val']))
            line |= {f'val_{name}': f'{values["val"][name]:.4f}', 'best': f'{self.best:.4f}'}
        self.bar.set_postfix(line)
        epoch, every = trainer.current_epoch + 1, max(1, trainer.max_epochs // 10)
        if self.bar.disable and epoch % every == 0:  # no terminal: ten lines a run
            told = ', '.join(f'{key} {value}' for key, value in line.items())
            logging.info(f'epoch {epoch}/{trainer.max_epochs}: {told}')


def _rounded(record: dict[str, float]) -> dict[str, float]:
    return {key: round(value, max(cfg.round, 6)) for key, value in record.items()}
