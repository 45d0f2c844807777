"""The runs of one config: which split or seed each has, and one run from the data to its summary."""

from __future__ import annotations

import logging
import time
from pathlib import Path

from torch_geometric.graphgym.config import cfg
from torch_geometric.graphgym.imports import pl
from torch_geometric.graphgym.register import train_dict

from graphgps_ext.config.check import check_encoders
from graphgps_ext.config.hardware import check_hardware
from graphgps_ext.errors import ConfigError
from graphgps_ext.loader import load_graph
from graphgps_ext.loader.datasets import FORMATS
from graphgps_ext.train.fit import AfterEvaluation
from graphgps_ext.train.memory import reset_peak
from graphgps_ext.train.results import is_finished


def choose_run(out_dir: Path, number: int) -> None:
    """Sets `cfg` for one run: a split of `run_multiple_splits`, or a seed; its id names its folder."""
    if cfg.run_multiple_splits:
        run_id = cfg.run_multiple_splits[number]
        cfg.dataset.split_index = cfg.dataset.split_seed = run_id
    else:
        run_id = cfg.seed = cfg.seed + (number > 0)
    cfg.out_dir, cfg.run_dir = str(out_dir), str(out_dir / (cfg.train.run_id or str(run_id)))


def run_once(after_evaluation: AfterEvaluation | None = None) -> None:
    """Trains the run of `cfg.run_dir`, unless it is finished.

    Args:
        after_evaluation: called after each evaluated epoch with the epoch and the best selection value so
            far; what it raises ends the run.
    """
    run_dir = Path(cfg.run_dir)
    logging.basicConfig(level=logging.INFO, format='%(message)s', force=True)  # not to an earlier run's log
    if is_finished(cfg):
        logging.info(f'{run_dir} is finished')
        return
    check_encoders(cfg)
    check_hardware(cfg)
    reset_peak()
    pl.seed_everything(cfg.seed, verbose=False)
    start = time.perf_counter()
    data = load_graph(cfg.dataset.format, cfg.dataset.name, cfg.dataset.dir)
    if data is None:
        known = ', '.join(FORMATS)
        raise ConfigError(f'dataset.format needs one of {known}, got {cfg.dataset.format!r}')
    logging.info(
        f'{cfg.dataset.name}: {data.num_nodes} nodes, {data.layers[0].num_edges} attention edges, '
        f'{data.num_features} features, read in {time.perf_counter() - start:.1f} s'
    )
    summary = train_dict[cfg.train.mode](data, after_evaluation=after_evaluation)
    if pl.utilities.rank_zero_only.rank != 0:
        return
    metric = summary['metric']
    logging.info(
        f'{run_dir}: test {metric} {summary["test"][metric]:.4f}, val {summary["val"][metric]:.4f} '
        f'at epoch {summary["best_epoch"]}; {summary["params"]} parameters, '
        f'{summary["seconds_per_epoch"]:.3f} s per epoch, {summary["peak_rss_mb"]:.0f} MB'
    )
