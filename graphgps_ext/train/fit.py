"""The training loop of all recipes."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from typing import Any

import torch
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer
from torch_geometric.data import Data
from torch_geometric.graphgym.config import cfg

from graphgps_ext.config.unread import tell_unread
from graphgps_ext.errors import ConfigError
from graphgps_ext.sampling import stream_key
from graphgps_ext.train.batches import Batches, is_evaluated
from graphgps_ext.train.finite import refuse_losses
from graphgps_ext.train.metrics import FULL_NAMES, best_metric
from graphgps_ext.train.module import NodeClassifier
from graphgps_ext.train.record import EpochRecord
from graphgps_ext.train.run import Run
from graphgps_ext.train.state import Training
from graphgps_ext.transform.batch import to_device

LOOK = 50  # steps, after which a long epoch looks whether its loss is finite: a look waits for the device


def fit(
    model: NodeClassifier,
    batches: Batches,
    run: Run,
    *,
    select_from: int = 0,
    before_epoch: Callable[[Training], None] | None = None,
) -> tuple[Training, EpochRecord]:
    """Trains to `optim.max_epoch`, from the last checkpoint if there is one, and loads the best epoch.

    Args:
        model: the model; afterwards it is the one of the best epoch.
        batches: of each epoch and its evaluation.
        run: its folder and devices, and whom to tell of each evaluation.
        select_from: first epoch that may be chosen as the best.
        before_epoch: of the recipe.

    Raises:
        ConfigError: if `run.after_evaluation` would end one of several processes.
        UserError: if something else, or something damaged, lies in the run's folder.
        NotFiniteError: if a loss, a prediction or a weight of an epoch to be chosen is not finite.
    """
    if run.after_evaluation is not None and (cfg.devices or 1) != 1:
        raise ConfigError(
            f'a search needs devices 1, got {cfg.devices}: it would end one of several processes'
        )
    training = Training(run, model)
    training.start()  # nothing is written before all input has been accepted
    batches.start(training.fabric)
    try:
        with EpochRecord(training, batches) as record:
            for epoch in range(training.epoch, cfg.optim.max_epoch):
                training.epoch = epoch
                if before_epoch is not None:
                    before_epoch(training)
                record.start_epoch()
                train_epoch(training, batches.training(epoch), record)
                if is_evaluated(epoch):
                    evaluate(training, batches.evaluation(epoch), record)
                metrics = record.end_epoch()
                training.keep_best(selection(metrics) if epoch >= select_from else -math.inf)
                record.show(metrics)
                if (epoch + 1) % cfg.train.ckpt_period == 0:
                    record.flush()
                    training.save('last.ckpt')
                if training.fabric.is_global_zero:
                    tell_unread(cfg, training.model)
                if is_evaluated(epoch) and run.after_evaluation is not None:
                    run.after_evaluation(epoch, training.best)
            training.take_best()
    finally:
        batches.close()
    return training, record


def selection(metrics: dict[str, dict[str, float]]) -> float:
    """What the best epoch is chosen by: `metric_best` on the validation nodes; −∞ without an evaluation."""
    return metrics['val'][best_metric(metrics['val'])] if 'val' in metrics else -math.inf


def train_epoch(training: Training, batches: Any, record: EpochRecord) -> None:
    """A step for each batch, or for each group of `optim.batch_accumulation`: the last may be smaller.

    The random state of a step is a function of (seed, epoch, batch), so that a resumed run repeats it.
    Dropout alone reads it: draws have keys, shuffles a generator.
    """
    training.model.train()
    group, last = cfg.optim.batch_accumulation, len(batches) - 1
    for index, batch in enumerate(batches):
        torch.manual_seed(stream_key(cfg.seed, training.epoch, index, training.fabric.global_rank))
        train_step(training, batch, ends_group=(index + 1) % group == 0 or index == last)
        record.count(batch, is_step=True)
    training.scheduler.step()


def train_step(training: Training, batch: Data, *, ends_group: bool) -> None:
    """Adds the gradient of one batch to that of its group, at whose end the optimizer takes its step.

    The group counts as one batch: its loss is the mean over all its labels, so that each batch weighs as many
    as it has (nodes, or known labels of their tasks). A batch without training nodes adds nothing.
    """
    fabric, network, optimizer = training.fabric, training.network, training.optimizer
    batch = to_device(batch, fabric.device)
    waits = not ends_group and isinstance(network, DistributedDataParallel)
    with network.no_sync() if waits else nullcontext():
        with training.forward_context():
            pred, true = network(batch, 'train')
            loss, labels = training.model.update('train', pred, true)
        if labels:
            before, training.labels = training.labels, training.labels + labels
            if before:
                scale_gradients(optimizer, before / training.labels)
            fabric.backward(loss * (labels / training.labels))
    if not ends_group or not training.labels:
        return
    if cfg.optim.clip_grad_norm and cfg.optim.clip_grad_norm_value > 0:
        largest = cfg.optim.clip_grad_norm_value
        fabric.clip_gradients(network, optimizer, max_norm=largest, error_if_nonfinite=False)
    fabric.strategy.optimizer_step(optimizer)
    optimizer.zero_grad()
    training.labels = 0
    training.global_step += 1
    if training.global_step % LOOK == 0:
        losses = {FULL_NAMES['train']: training.model.mean_loss('train')}
        refuse_losses(losses, training.epoch, steps=training.global_step)


def scale_gradients(optimizer: Optimizer, factor: float) -> None:
    """Multiplies what has been added up so far."""
    for group in optimizer.param_groups:
        for parameter in group['params']:
            if parameter.grad is not None:
                parameter.grad *= factor


def evaluate(training: Training, batches: Iterable[Data], record: EpochRecord) -> None:
    """One pass over the evaluation batches."""
    training.model.eval()
    for batch in batches:
        evaluate_batch(training, batch)
        record.count(batch)


@torch.no_grad()
def evaluate_batch(training: Training, batch: Data) -> None:
    """Counts the predictions of a batch; the rows of each split are told apart by its mask."""
    batch = to_device(batch, training.fabric.device)
    with training.forward_context():
        pred, true = training.network(batch)
        for split in ('val', 'test'):
            mask = batch[f'{split}_mask'][: len(pred)]
            training.model.update(split, pred[mask], true[mask])
