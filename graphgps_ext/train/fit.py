"""The training loop of all recipes."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer
from torch_geometric.data import Data
from torch_geometric.graphgym.config import cfg

from graphgps_ext.config.unread import tell_unread
from graphgps_ext.errors import ConfigError
from graphgps_ext.optimizer.fused import FUSED
from graphgps_ext.sampling import stream_key
from graphgps_ext.train.batches import Batches, is_evaluated
from graphgps_ext.train.capture import CapturedStep
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
    before_epoch: Callable[[Training], bool] | None = None,
) -> tuple[Training, EpochRecord]:
    """Trains to `optim.max_epoch`, from the last checkpoint if there is one, and loads the best epoch.

    Args:
        model: the model; afterwards it is the one of the best epoch.
        batches: of each epoch and its evaluation.
        run: its folder and devices, and whom to tell of each evaluation.
        select_from: first epoch that may be chosen as the best.
        before_epoch: of the recipe; says whether the model has changed in more than its numbers.

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
    batches.start(training.fabric, training.prepare)
    steps = Steps(training, batches)
    try:
        with EpochRecord(training, batches) as record:
            for epoch in range(training.epoch, cfg.optim.max_epoch):
                training.epoch = epoch
                if before_epoch is not None and before_epoch(training):
                    steps.forget()
                record.start_epoch()
                train_epoch(training, steps, batches.training(epoch), record)
                if is_evaluated(epoch):
                    evaluate(training, steps, batches.evaluation(epoch), record)
                record.tell()  # of the epoch before, while the device computes this one
                metrics = record.end_epoch()
                record.note(metrics)
                training.keep_best(selection(metrics) if epoch >= select_from else -math.inf)
                if training.is_due():
                    record.tell()
                    record.flush()
                    training.save()
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


class Steps:
    """How a batch is trained on and evaluated: by a CUDA graph where all batches of the run have one shape.

    Args:
        training: the model in training.
        batches: of its epochs.
    """

    def __init__(self, training: Training, batches: Batches) -> None:
        self.training = training
        self.batches = batches
        self.train: CapturedStep | None = None
        self.evaluate: CapturedStep | None = None
        if training.fabric.device.type != 'cuda' or not cfg.train.cuda_graphs:
            return
        if reason := no_graph(training):
            logging.info(f'no CUDA graphs, steps run kernel by kernel: {reason}')
            return
        if batches.is_whole():
            self.train = CapturedStep('training step', self._whole_step)
            self.evaluate = CapturedStep('evaluation', self._whole_evaluation)

    def forget(self) -> None:
        """Records anew: the model has changed in more than its numbers."""
        for step in (self.train, self.evaluate):
            if step is not None:
                step.forget()

    def _whole_step(self, batch: Data) -> Tensor:
        training = self.training
        add_gradient(training, self.batches.drawn(batch, with_backward=True))
        optimizer_step(training)
        return training.tallies['train'].take()

    def _whole_evaluation(self, batch: Data) -> Tensor:
        training = self.training
        evaluate_batch(training, self.batches.drawn(batch, with_backward=False))
        return torch.cat([training.tallies[split].take() for split in ('val', 'test')])


def no_graph(training: Training) -> str:
    """Why steps cannot be captured in CUDA graphs; empty if they can."""
    if training.fabric.world_size > 1:
        return f'{training.fabric.world_size} devices share their gradients'
    if training.fabric.strategy.precision.precision == '16-mixed':
        return 'train.precision 16-mixed looks at the gradients before each step (bf16-mixed does not)'
    if type(training.optimizer) not in FUSED:
        return f'optim.optimizer {cfg.optim.optimizer} is not known to compute on the device alone'
    return ''


def train_epoch(training: Training, steps: Steps, batches: Any, record: EpochRecord) -> None:
    """A step for each batch, or for each group of `optim.batch_accumulation`: the last may be smaller.

    The random state of a step is a function of (seed, epoch, batch), so that a resumed run repeats it.
    Dropout alone reads it: draws have keys, shuffles a generator.
    """
    training.write_rates()
    group, last = cfg.optim.batch_accumulation, len(batches) - 1
    for index, batch in enumerate(batches):
        seed(stream_key(cfg.seed, training.epoch, index, training.fabric.global_rank), training.fabric.device)
        ends = (index + 1) % group == 0 or index == last
        train_step(training, batch, steps=steps, ends_group=ends)
        record.count(batch, is_step=True)
    training.scheduler.step()


def seed(key: int, device: torch.device) -> None:
    """As `torch.manual_seed`, which also asks for accelerators that are not there: that takes it 1 ms."""
    torch.default_generator.manual_seed(key)
    if device.type == 'cuda':
        torch.cuda.default_generators[device.index].manual_seed(key)


def train_step(training: Training, batch: Data, *, steps: Steps, ends_group: bool) -> None:
    """Adds the gradient of one batch to that of its group, at whose end the optimizer takes its step.

    A group counts as one batch: its loss is the mean over all its labels, so that each batch weighs as many
    as it has (nodes, or known labels of their tasks). A batch without training nodes adds nothing.
    """
    batch = to_device(batch, training.fabric.device)
    if steps.train is not None:
        training.results['train'] = steps.train(batch)
    else:
        batch = steps.batches.drawn(batch, with_backward=True)
        add_gradient(training, batch, waits=not ends_group)
        if not ends_group or not training.labels:
            return
        optimizer_step(training)
    training.global_step += 1
    if training.global_step % LOOK == 0 and steps.train is None:
        losses = {FULL_NAMES['train']: float(training.tallies['train'].mean_loss())}
        refuse_losses(losses, training.epoch, steps=training.global_step)


def add_gradient(training: Training, batch: Data, *, waits: bool = False) -> None:
    """Adds the gradient of a batch on the device to what is there; `waits`: other devices get it later."""
    training.model.train()
    network, known = training.network, batch.train_known if 'train_known' in batch else None
    alone = waits and isinstance(network, DistributedDataParallel)
    with network.no_sync() if alone else nullcontext():
        with training.forward_context():
            pred, true = network(batch, 'train')
            loss, labels = training.model.count(training.tallies['train'], 'train', pred, true, known)
        if labels:
            before, training.labels = training.labels, training.labels + labels
            if before:
                scale_gradients(training.optimizer, before / training.labels)
                loss = loss * (labels / training.labels)
            training.fabric.backward(loss)


def optimizer_step(training: Training) -> None:
    """A step along the gradient, which is then empty."""
    fabric, optimizer = training.fabric, training.optimizer
    if cfg.optim.clip_grad_norm and cfg.optim.clip_grad_norm_value > 0:
        largest = cfg.optim.clip_grad_norm_value
        fabric.clip_gradients(training.network, optimizer, max_norm=largest, error_if_nonfinite=False)
    with training.rates_on_device():
        fabric.strategy.optimizer_step(optimizer)
    optimizer.zero_grad()
    training.labels = 0


def scale_gradients(optimizer: Optimizer, factor: float) -> None:
    """Multiplies what has been added up so far."""
    for group in optimizer.param_groups:
        for parameter in group['params']:
            if parameter.grad is not None:
                parameter.grad *= factor


def evaluate(training: Training, steps: Steps, batches: Iterable[Data], record: EpochRecord) -> None:
    """One pass over the evaluation batches."""
    for batch in batches:
        batch = to_device(batch, training.fabric.device)
        if steps.evaluate is None:
            evaluate_batch(training, steps.batches.drawn(batch, with_backward=False))
        else:
            sizes = [len(training.tallies[split].names) for split in ('val', 'test')]
            results = steps.evaluate(batch).split(sizes)
            training.results |= dict(zip(('val', 'test'), results, strict=True))
        record.count(batch)


@torch.no_grad()
def evaluate_batch(training: Training, batch: Data) -> None:
    """Counts the predictions of a batch on the device; the rows of each split are told apart by its mask."""
    training.model.eval()
    with training.forward_context():
        pred, true = training.network(batch)
        for split in ('val', 'test'):
            rows = batch[f'{split}_mask'][: len(pred)]
            known = batch[f'{split}_known'] if f'{split}_known' in batch else None
            training.model.count(training.tallies[split], split, pred[rows], true[rows], known)
