"""The report on a finished run: the chosen epoch, evaluated with draws of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch_geometric.data import Data
from torch_geometric.graphgym.config import cfg

from graphgps_ext.provenance import device_name, git_revision, versions
from graphgps_ext.train.batches import Batches
from graphgps_ext.train.finite import refuse_predictions
from graphgps_ext.train.memory import peak_gpu_mb, peak_rss_mb
from graphgps_ext.train.metrics import (
    FULL_NAMES,
    best_metric,
    compute_metrics,
    existing_metrics,
    loss_and_probability,
    metric_names,
)
from graphgps_ext.train.module import NodeClassifier
from graphgps_ext.train.record import EpochRecord
from graphgps_ext.train.results import SUMMARY, config_hash, flat_config, hyper_parameters, write_json
from graphgps_ext.train.state import Training
from graphgps_ext.train.stats import read_stats
from graphgps_ext.transform.batch import to_device


def report(training: Training, record: EpochRecord, data: Data, **extra: Any) -> dict[str, Any]:
    """Evaluates the chosen epoch with `spex.eval_draws` independent draws and writes `summary.json`.

    The metrics of a split are those of the mean of the predicted probabilities over the draws; beside them
    stands the mean over draws of the metric of one draw.

    Raises:
        NotFiniteError: if a prediction is not finite; then nothing is written.
    """
    run_dir = Path(cfg.run_dir)
    model, batches, device = training.model, record.batches, training.fabric.device
    draws = [predict(training, batches, draw, data.num_nodes) for draw in range(batches.report_draws)]
    mean = torch.stack(draws).mean(0)
    for split in ('val', 'test'):
        name = f'predictions for the {FULL_NAMES[split]} nodes'
        chosen = mean[data[f'{split}_mask']]
        refuse_predictions(chosen, name, training.best_epoch)
    epochs = read_stats(run_dir, 'train')
    at_best = next(r for r in epochs if r['epoch'] == training.best_epoch)
    names = metric_names(model.dim_metrics)
    metric = best_metric(names)
    summary: dict[str, Any] = {
        'config': Path(cfg.out_dir).name,
        'run': run_dir.name,
        'seed': cfg.seed,
        'metric': metric,
        'best_epoch': training.best_epoch,
        'epochs': cfg.optim.max_epoch,
        'train': {k: at_best[k] for k in ('loss', *names) if k in at_best},
    }
    for split in ('val', 'test'):
        mask = data[f'{split}_mask']
        summary[split] = _metrics(model, mean[mask], data.y[mask])
        singles = [_metrics(model, draw[mask], data.y[mask])[metric] for draw in draws]
        summary[split][f'{metric}_single_draw'] = sum(singles) / len(singles)
    times = sorted(r['time_epoch'] for r in epochs)
    waiting = sum(r['time_waiting'] for r in epochs)
    summary |= {
        'params': record.params,
        'seconds_per_epoch': round(times[len(times) // 2], 6),
        'seconds_total': round(sum(times), 3),
        'seconds_sampling': round(sum(r['time_sampling'] for r in epochs), 3),
        'seconds_waiting': round(waiting, 3),
        'waiting_share': round(100 * waiting / sum(times), 2),
        'eval_draws': len(draws),
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
    if training.fabric.is_global_zero:
        splits = [split for split in ('test', 'val', 'train') if metric in summary[split]]
        found = {f'best/{split}_{metric}': summary[split][metric] for split in splits}
        costs = ('params', 'seconds_per_epoch', 'seconds_total', 'peak_rss_mb', 'peak_gpu_mb')
        compared = {**found, **{f'cost/{name}': summary[name] for name in costs}}
        # TensorBoard sorts by name and cuts long names of runs: `config` becomes the first column.
        record.board.log_result({'config': summary['config'], **hyper_parameters(cfg)}, compared)
        record.board.close()
        write_json(run_dir / SUMMARY, summary)
    return summary


@torch.no_grad()
def predict(training: Training, batches: Batches, draw: int, num_nodes: int) -> torch.Tensor:
    """Probabilities of all seeds of a draw, computed as an evaluation computes: [N] or [N, ·] on the CPU.

    Rows of nodes that are no seeds are NaN.
    """
    training.model.eval()
    predictions = None
    for batch in batches.report(draw):
        batch = batches.drawn(to_device(batch, training.fabric.device), with_backward=False)
        with training.forward_context():
            pred, true = training.model(batch)
            # Any labels do: only the prediction is wanted, and unlabelled nodes have none.
            _, probability = loss_and_probability(pred, torch.zeros_like(true))
        if predictions is None:
            predictions = probability.new_full((num_nodes, *probability.shape[1:]), torch.nan, device='cpu')
        nodes = batch.n_id[: len(probability)].cpu() if 'n_id' in batch else slice(None)
        predictions[nodes] = probability.cpu()
    assert predictions is not None
    return predictions


def _metrics(model: NodeClassifier, predictions: torch.Tensor, true: torch.Tensor) -> dict[str, float]:
    metrics = compute_metrics(existing_metrics(model.dim_metrics, true), predictions, true)
    return {name: round(float(value), 6) for name, value in metrics.items()}
