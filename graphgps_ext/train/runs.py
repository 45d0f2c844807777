"""The runs of one config: which split or seed each has, and one run from the data to its summary."""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import Any, cast

from lightning_fabric import seed_everything
from lightning_fabric.utilities.rank_zero import rank_zero_only
from torch_geometric.graphgym.config import cfg
from torch_geometric.graphgym.register import train_dict
from yacs.config import CfgNode

from graphgps_ext import scores
from graphgps_ext.config.check import check_encoders
from graphgps_ext.config.hardware import check_hardware
from graphgps_ext.errors import ConfigError, DataError, MissingFileError, UserError
from graphgps_ext.loader import data_fingerprints, load_graph
from graphgps_ext.loader.datasets import FORMATS
from graphgps_ext.train import results
from graphgps_ext.train.handover import draws_by_scores, find_scores, score_inputs
from graphgps_ext.train.lock import refuse_if_locked
from graphgps_ext.train.memory import reset_peak
from graphgps_ext.train.run import AfterEvaluation, Run, launch
from graphgps_ext.train.shortage import shortage_explained


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

    Raises:
        OtherResultsError: if another process or results of something else are in its folder.
    """
    run_dir = Path(cfg.run_dir)
    logging.basicConfig(level=logging.INFO, format='%(message)s', force=True)  # not to an earlier run's log
    if (cfg.devices or 1) == 1:
        cast(Any, rank_zero_only).rank = 0  # whatever a scheduler's variables say
    if is_finished(cfg):
        logging.info(f'{run_dir} is finished')
        return
    check_encoders(cfg)
    check_hardware(cfg)
    fabric = launch()
    if fabric.is_global_zero:
        refuse_if_locked(run_dir)  # before the data are read; the lock itself is taken when all is accepted
    reset_peak()
    seed_everything(cfg.seed, verbose=False)
    start = time.perf_counter()
    data = load_graph(cfg.dataset.format, cfg.dataset.name, cfg.dataset.dir)
    if data is None:
        known = ', '.join(FORMATS)
        raise ConfigError(f'dataset.format needs one of {known}, got {cfg.dataset.format!r}')
    split = scores.split_fingerprint(data.train_mask, data.val_mask, data.test_mask)
    inputs = {**_read_by(cfg, data.fingerprints), 'split': split}
    logging.info(
        f'{cfg.dataset.name}: {data.num_nodes} nodes, {data.layers[0].num_edges} attention edges, '
        f'{data.num_features} features, read in {time.perf_counter() - start:.1f} s'
    )
    with shortage_explained(data), Run(fabric, inputs, after_evaluation) as run:
        summary = train_dict[cfg.train.mode](data, run)
        if not fabric.is_global_zero:
            return
        results.finish(run_dir)
    metric = summary['metric']
    logging.info(
        f'{run_dir}: test {metric} {summary["test"][metric]:.4f}, val {summary["val"][metric]:.4f} '
        f'at epoch {summary["best_epoch"]}; {summary["params"]} parameters, '
        f'{summary["seconds_per_epoch"]:.3f} s per epoch, {summary["peak_rss_mb"]:.0f} MB'
    )


def is_finished(cfg: CfgNode) -> bool:
    """Whether the run of `cfg.run_dir` has ended, and all that it wrote is whole. Changes nothing.

    With `train.overwrite` results of something else, and damaged ones, do not count.

    Raises:
        OtherResultsError: if results of another config, of other data or other attention scores lie there.
        DataError: if it cannot be told what lies there.
    """
    run_dir = Path(cfg.run_dir)
    ended = results.has_ended(run_dir)
    try:
        results.refuse_others(cfg)
        if ended:
            results.refuse_others(cfg, _inputs_now(cfg, results.read_inputs(run_dir)))
    except UserError:
        if not cfg.train.overwrite:
            raise
        return False
    if not ended:
        return False
    try:
        results.check_finished(run_dir, hash_again=cfg.dataset.hash_again)
    except (DataError, MissingFileError) as error:
        logging.warning(f'{error}; {run_dir} goes on from what is whole')
        return False
    return True


def _inputs_now(cfg: CfgNode, recorded: dict[str, str]) -> dict[str, str]:
    """What a finished run would be computed from now; what is not here any more counts as unchanged.

    The split is a function of data and config, which are compared.
    """
    found = dict(recorded)
    try:
        now = _read_by(cfg, data_fingerprints(cfg))
        found = {name: recorded[name] for name in recorded if name in _NOT_OF_DATA} | now
    except MissingFileError as error:
        logging.info(f'not compared with the data that it was computed from: {error}')
    if draws_by_scores(cfg) and 'split' in recorded:
        try:
            path = find_scores(cfg, recorded['split'])
            found |= score_inputs(scores.read_manifest(path))
        except MissingFileError as error:
            logging.info(f'not compared with the attention scores that it was computed from: {error}')
    return found


_NOT_OF_DATA = ('split', 'scores', 'estimator')


def _read_by(cfg: CfgNode, fingerprints: dict[str, str]) -> dict[str, str]:
    """Of the parts of a data set, those that a run reads."""
    unread = set() if cfg.prep.edge_attr else {'edge_features'}
    unread |= set() if cfg.dataset.split_mode == 'standard' else {'masks'}
    return {name: value for name, value in fingerprints.items() if name not in unread}
