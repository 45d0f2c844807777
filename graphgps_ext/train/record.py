"""What is written and shown of each epoch: stats.json, TensorBoard, progress."""

from __future__ import annotations

import logging
import time
from pathlib import Path

import torch
from torch_geometric.data import Data
from torch_geometric.graphgym.config import cfg
from torch_geometric.graphgym.utils.comp_budget import params_count
from tqdm import tqdm

from graphgps_ext.capabilities import capabilities
from graphgps_ext.train.batches import Batches, is_evaluated
from graphgps_ext.train.board import Board
from graphgps_ext.train.finite import refuse_losses
from graphgps_ext.train.memory import peak_gpu_mb, peak_rss_mb
from graphgps_ext.train.metrics import FULL_NAMES, best_metric
from graphgps_ext.train.state import Training
from graphgps_ext.train.stats import SPLITS


class EpochRecord:
    """Measures the epochs of a run and tells of them.

    Args:
        training: the model in training.
        batches: of its epochs.
    """

    def __init__(self, training: Training, batches: Batches) -> None:
        self.run_dir = Path(cfg.run_dir)
        self.training = training
        self.batches = batches
        self.params = params_count(training.model.model)
        self.durations: list[float] = []
        self.seconds = 0.0  # their sum
        self.untold: tuple[int, dict[str, dict[str, float]], dict[str, float], dict[str, float]] | None = None
        self.writes = training.fabric.is_global_zero
        if self.writes:
            self.board = Board(self.run_dir, flush_secs=30)
            self.board.log_config(cfg, self.params)
        self.bar = tqdm(
            total=cfg.optim.max_epoch,
            initial=training.epoch,
            unit='epoch',
            desc=f'{Path(cfg.out_dir).name}/{self.run_dir.name}',
            disable=None if self.writes else True,  # None: only on a terminal
        )

    def start_epoch(self) -> None:
        """Starts the clocks."""
        self.start = time.perf_counter()
        self.rate = self.training.optimizer.param_groups[0]['lr']
        self.train_seconds = self.sampling_seconds = 0.0
        self.steps = 0

    def count(self, batch: Data, *, is_step: bool = False) -> None:
        """Counts a batch, and the time spent sampling it."""
        self.sampling_seconds += batch.sampling_seconds if 'sampling_seconds' in batch else 0.0
        if is_step:
            self.steps += 1
            self.train_seconds = time.perf_counter() - self.start

    def end_epoch(self) -> dict[str, dict[str, float]]:
        """Waits for the epoch; the metrics of each of its splits, of all processes.

        Raises:
            NotFiniteError: if a loss or a prediction is not finite; then nothing is recorded.
        """
        training, epoch = self.training, self.training.epoch
        values = training.read_results(SPLITS if is_evaluated(epoch) else SPLITS[:1])
        losses = {FULL_NAMES[split]: metrics['loss'] for split, metrics in values.items()}
        refuse_losses(losses, epoch, steps=training.global_step)
        seconds = time.perf_counter() - self.start
        self.durations.append(seconds)
        self.seconds += seconds
        self.basic = {
            'lr': self.rate,
            'params': self.params,
            'time_iter': self.train_seconds / max(1, self.steps),
            'time_epoch': seconds,
            'time_sampling': self.sampling_seconds,
            'time_waiting': self.batches.take_seconds_waiting(epoch),
        }
        return values

    def note(self, values: dict[str, dict[str, float]]) -> None:
        """Adds the epoch to `stats.json`, and keeps what :meth:`tell` is to tell of it."""
        training, basic = self.training, self.basic
        if not self.writes:
            return
        epoch = training.epoch
        left = (cfg.optim.max_epoch - epoch - 1) * self.seconds / len(self.durations)
        for split, metrics in values.items():
            eta = {'eta': round(left, 2)} if split == 'train' else {}
            training.run.stats.append(split, {'epoch': epoch, **eta, **_rounded({**metrics, **basic})})
        temperature = {}
        if capabilities(cfg.model.type).temperature:
            temperature['temperature'] = training.model.model.temperature
        self.untold = (epoch, values, basic, temperature)

    def tell(self) -> None:
        """Tells of the last epoch noted: its curves, and the bar or, without a terminal, ten lines a run."""
        if self.untold is None:
            return
        (epoch, values, basic, temperature), self.untold = self.untold, None
        curves = {f'{split}/{name}': x for split, metrics in values.items() for name, x in metrics.items()}
        curves |= {
            'lr': basic['lr'],
            'time/epoch': basic['time_epoch'],
            **{f'time/{part}': basic[f'time_{part}'] for part in ('sampling', 'waiting')},
            'memory/peak_rss_mb': peak_rss_mb(),  # up to this epoch
            'kept_share': self.batches.kept_share,  # %
            **temperature,
        }
        if torch.cuda.is_available():
            curves['memory/peak_gpu_mb'] = peak_gpu_mb()
        self.board.log(curves, epoch)
        line = {'loss': f'{values["train"]["loss"]:.4f}'}
        if 'val' in values:
            name = best_metric(values['val'])
            line |= {f'val_{name}': f'{values["val"][name]:.4f}', 'best': f'{self.training.best:.4f}'}
        self.bar.set_postfix(line, refresh=False)
        self.bar.update(1)
        epochs = cfg.optim.max_epoch
        if self.bar.disable and (epoch + 1) % max(1, epochs // 10) == 0:
            told = ', '.join(f'{key} {value}' for key, value in line.items())
            logging.info(f'epoch {epoch + 1}/{epochs}: {told}')

    def flush(self) -> None:
        """Writes what TensorBoard has not yet got: a resumed run does not repeat the epochs before."""
        if self.writes:
            self.board.flush()

    def __enter__(self) -> EpochRecord:
        return self

    def __exit__(self, error: type[BaseException] | None, *rest: object) -> None:
        if self.writes:
            self.tell()
            self.training.run.stats.write()
        self.bar.close()
        if error is not None and self.writes:  # otherwise it stays open for the report
            self.board.close()


def _rounded(record: dict[str, float]) -> dict[str, float]:
    return {key: round(value, max(cfg.round, 6)) for key, value in record.items()}
