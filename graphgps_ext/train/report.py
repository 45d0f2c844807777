"""The report on a finished run: the chosen epoch, evaluated with draws of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch_geometric.data import Data
from torch_geometric.graphgym.config import cfg

from graphgps_ext.provenance import device_name, git_revision, versions
from graphgps_ext.train.memory import peak_gpu_mb, peak_rss_mb
from graphgps_ext.train.metrics import best_metric, build_metrics, probabilities, targets
from graphgps_ext.train.module import NodeClassifier
from graphgps_ext.train.record import EpochRecord
from graphgps_ext.train.results import SUMMARY, config_hash, flat_config, hyper_parameters, write_json
from graphgps_ext.train.state import Training
from graphgps_ext.train.stats import read_stats


def report(training: Training, record: EpochRecord, data: Data, **extra: Any) -> dict[str, Any]:
    """Evaluates the chosen epoch with `spex.eval_draws` independent draws and writes `summary.json`.

    The metrics of a split are those of the mean of the predicted probabilities over the draws; beside them
    stands the mean over draws of the metric of one draw.
    """
    run_dir = Path(cfg.run_dir)
    model, batches, device = training.model, record.batches, training.fabric.device
    draws = [
        probabilities(model.predict(batches.report(draw), data.num_nodes, device))
        for draw in range(batches.report_draws)
    ]
    mean = torch.stack(draws).mean(0)
    epochs = read_stats(run_dir, 'train')
    at_best = next(r for r in epochs if r['epoch'] == training.best_epoch)
    names = [*build_metrics(model.dim_metrics)]
    metric = best_metric(names)
    summary: dict[str, Any] = {
        'config': Path(cfg.out_dir).name,
        'run': run_dir.name,
        'seed': cfg.seed,
        'metric': metric,
        'best_epoch': training.best_epoch,
        'epochs': cfg.optim.max_epoch,
        'train': {k: at_best[k] for k in ('loss', *names)},
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
        chosen = {f'best/{s}_{metric}': summary[s][metric] for s in ('test', 'val', 'train')}
        costs = ('params', 'seconds_per_epoch', 'seconds_total', 'peak_rss_mb', 'peak_gpu_mb')
        compared = {**chosen, **{f'cost/{name}': summary[name] for name in costs}}
        # TensorBoard sorts by name and cuts long names of runs: `config` becomes the first column.
        record.board.log_result({'config': summary['config'], **hyper_parameters(cfg)}, compared)
        record.board.close()
        write_json(run_dir / SUMMARY, summary)
    return summary


def _metrics(model: NodeClassifier, predictions: torch.Tensor, true: torch.Tensor) -> dict[str, float]:
    metrics = build_metrics(model.dim_metrics)
    values = metrics(predictions, targets(true))
    return {name: round(float(value), 6) for name, value in values.items()}
