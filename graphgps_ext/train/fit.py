"""Training of one run on Lightning's Trainer: resume, best epoch, report."""

from __future__ import annotations

import logging
import os
import warnings
from pathlib import Path
from typing import Any

import torch
from torch_geometric.data import Data
from torch_geometric.graphgym.config import cfg
from torch_geometric.graphgym.imports import pl  # the Lightning that GraphGym found: there are two names
from torch_geometric.graphgym.logger import set_printing
from torch_geometric.graphgym.utils.comp_budget import params_count

from graphgps_ext.provenance import device_name, git_revision, versions
from graphgps_ext.train.board import log_config, log_result
from graphgps_ext.train.callbacks import SELECTION, BatchSeed, EpochRecord, best_checkpoint
from graphgps_ext.train.memory import peak_gpu_mb, peak_rss_mb
from graphgps_ext.train.metrics import best_metric, build_metrics, probabilities, targets
from graphgps_ext.train.module import SPLITS, NodeClassifier
from graphgps_ext.train.results import (
    config_hash,
    flat_config,
    hyper_parameters,
    read_stats,
    start_run_dir,
    write_json,
)


class AtomicCheckpointIO(pl.plugins.TorchCheckpointIO):
    """Checkpoints that are whole or not there, whatever happens while they are written."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Writes beside the target, then renames."""
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f'{path.name}.tmp')
        try:
            torch.save(checkpoint, temporary)
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)


class ModelCheckpoint(pl.callbacks.ModelCheckpoint):
    """Lightning's, for a folder that may be moved between a run and its continuation."""

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restores the best metric so far; Lightning forgets it where the folder has another name."""
        super().load_state_dict({**state_dict, 'dirpath': self.dirpath})


def checkpoint_dir(run_dir: Path) -> Path:
    """Where a run keeps `last.ckpt` and `best.ckpt`."""
    return run_dir / 'ckpt'


def fit(
    model: NodeClassifier,
    datamodule: pl.LightningDataModule,
    *,
    select_from: int = 0,
    callbacks: tuple[pl.Callback, ...] = (),
) -> pl.Trainer:
    """Trains to `optim.max_epoch`, from the last checkpoint if there is one, and loads the best epoch.

    Args:
        model: the model; afterwards it is the one of the best epoch.
        datamodule: batches.
        select_from: first epoch that may be chosen as the best.
        callbacks: of the recipe.

    Raises:
        FileNotFoundError: if a run that is taken up again has lost the checkpoint of its best epoch.
    """
    run_dir = Path(cfg.run_dir)
    folder = checkpoint_dir(run_dir)
    keep = dict(dirpath=folder, enable_version_counter=False, save_on_train_epoch_end=True)
    best = ModelCheckpoint(filename='best', monitor=SELECTION, mode='max', save_top_k=1, **keep)
    last = ModelCheckpoint(filename='last', every_n_epochs=cfg.train.ckpt_period, **keep)
    trainer = pl.Trainer(
        accelerator=cfg.accelerator,
        devices=cfg.devices or 1,
        precision=cfg.train.precision,
        max_epochs=cfg.optim.max_epoch,
        check_val_every_n_epoch=cfg.train.eval_period,
        gradient_clip_val=cfg.optim.clip_grad_norm_value if cfg.optim.clip_grad_norm else None,
        accumulate_grad_batches=cfg.optim.batch_accumulation,
        reload_dataloaders_every_n_epochs=datamodule.reload_every_n_epochs,
        num_sanity_val_steps=0,
        log_every_n_steps=1,
        use_distributed_sampler=False,
        logger=pl.loggers.TensorBoardLogger(run_dir, name='', version='', default_hp_metric=False),
        callbacks=[BatchSeed(), *callbacks, EpochRecord(run_dir, select_from), best, last],
        plugins=[AtomicCheckpointIO()],
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    best_metric([str(name) for name in build_metrics(model.dim_metrics)])  # refuses one that there is not
    if trainer.is_global_zero:  # nothing is written before all input has been accepted
        start_run_dir(cfg)
        set_printing()
        trainer.logger.log_hyperparams(hyper_parameters(cfg))  # hparams.yaml, which is written once
        log_config(trainer.logger, cfg.dump(), params_count(model.model))
    resume = folder / 'last.ckpt'
    with warnings.catch_warnings():
        # One batch an epoch, made where the graph lies: workers would only copy it.
        warnings.filterwarnings('ignore', '.*does not have many workers.*')
        warnings.filterwarnings('ignore', '.*Checkpoint directory.*exists and is not empty.*')
        # A random part without training nodes is no step.
        warnings.filterwarnings('ignore', '.*training_step.*returned.*None.*')
        if resume.is_file():
            logging.info(f'resuming from {resume}')
        trainer.fit(model, datamodule, ckpt_path=resume if resume.is_file() else None, weights_only=False)
    checkpoint = torch.load(best_checkpoint(folder), map_location='cpu', weights_only=False)
    model.load_state_dict(checkpoint['state_dict'])
    model.best_epoch = checkpoint['epoch']
    return trainer


def report(
    model: NodeClassifier, datamodule: pl.LightningDataModule, data: Data, trainer: pl.Trainer, **extra: Any
) -> dict[str, Any]:
    """Evaluates the chosen epoch with `spex.eval_draws` independent draws and writes `summary.json`.

    The metrics of a split are those of the mean of the predicted probabilities over the draws; beside them
    stands the mean over draws of the metric of one draw.
    """
    run_dir = Path(cfg.run_dir)
    device = trainer.strategy.root_device
    model.to(device)
    scores = [
        probabilities(model.predict(datamodule.report_batches(draw), data.num_nodes))
        for draw in range(datamodule.report_draws)
    ]
    mean_score = torch.stack(scores).mean(0)
    records = {split: read_stats(run_dir, split) for split in SPLITS}
    at_best = next(r for r in records['train'] if r['epoch'] == model.best_epoch)
    names = [str(name) for name in build_metrics(model.dim_metrics)]
    metric = best_metric(names)
    summary: dict[str, Any] = {
        'config': Path(cfg.out_dir).name,
        'run': run_dir.name,
        'seed': cfg.seed,
        'metric': metric,
        'best_epoch': model.best_epoch,
        'epochs': cfg.optim.max_epoch,
        'train': {k: at_best[k] for k in ('loss', *names)},
    }
    for split in ('val', 'test'):
        mask = data[f'{split}_mask']
        summary[split] = _metrics(model, mean_score[mask], data.y[mask])
        singles = [_metrics(model, score[mask], data.y[mask])[metric] for score in scores]
        summary[split][f'{metric}_single_draw'] = sum(singles) / len(singles)
    times = [r['time_epoch'] for r in records['train']]
    summary |= {
        'params': params_count(model.model),
        'seconds_per_epoch': round(sorted(times)[len(times) // 2], 6),
        'seconds_total': round(sum(times), 3),
        'seconds_sampling': round(sum(r['time_sampling'] for r in records['train']), 3),
        'seconds_waiting': round(sum(r['time_waiting'] for r in records['train']), 3),
        'waiting_share': round(100 * sum(r['time_waiting'] for r in records['train']) / sum(times), 2),
        'eval_draws': len(scores),
        'peak_rss_mb': round(peak_rss_mb(), 1),
        'peak_gpu_mb': round(peak_gpu_mb(), 1),
        'device': str(device),
        'device_name': device_name(device),
        'num_nodes': data.num_nodes,
        'versions': versions(),
        'git_revision': git_revision(),
        'config_hash': config_hash(flat_config(cfg)),
        **extra,
    }
    if trainer.is_global_zero:
        chosen = {f'best/{s}_{metric}': summary[s][metric] for s in ('test', 'val', 'train')}
        costs = ('params', 'seconds_per_epoch', 'seconds_total', 'peak_rss_mb', 'peak_gpu_mb')
        compared = {**chosen, **{f'cost/{name}': summary[name] for name in costs}}
        # TensorBoard sorts by name and cuts long names of runs: `config` becomes the first column.
        log_result(trainer.logger, {'config': summary['config'], **hyper_parameters(cfg)}, compared)
        trainer.logger.save()
        write_json(run_dir / 'summary.json', summary)
    return summary


def _metrics(model: NodeClassifier, score: torch.Tensor, true: torch.Tensor) -> dict[str, float]:
    metrics = build_metrics(model.dim_metrics)
    values = metrics(score, targets(true))
    return {name: round(float(value), 6) for name, value in values.items()}
