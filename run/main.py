"""Trains the models of one config: python run/main.py --cfg FILE [--repeat N] [key value ...]"""

from __future__ import annotations

import logging
import os
import sys
import time
import traceback
import warnings
from argparse import Namespace
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch_geometric.graphgym.cmd_args import parse_args
from torch_geometric.graphgym.config import cfg
from torch_geometric.graphgym.imports import pl
from torch_geometric.graphgym.register import train_dict

import graphgps_ext
from graphgps_ext.config.check import ConfigError
from graphgps_ext.config.load import load_config
from graphgps_ext.loader import load_graph
from graphgps_ext.loader.datasets import FORMATS
from graphgps_ext.train.memory import reset_peak
from graphgps_ext.train.results import aggregate, is_finished


def choose_run(out_dir: Path, number: int) -> None:
    """Sets `cfg` for one run: a split of `run_multiple_splits`, or a seed; its id names its folder."""
    if cfg.run_multiple_splits:
        run_id = cfg.run_multiple_splits[number]
        cfg.dataset.split_index = cfg.dataset.split_seed = run_id
    else:
        run_id = cfg.seed = cfg.seed + (number > 0)
    cfg.out_dir, cfg.run_dir = str(out_dir), str(out_dir / (cfg.train.run_id or str(run_id)))


def run_once(callbacks: Sequence[pl.Callback] = ()) -> None:
    """Trains one run, with Lightning callbacks beside those of its recipe, unless it is finished."""
    run_dir = Path(cfg.run_dir)
    logging.basicConfig(level=logging.INFO, format='%(message)s', force=True)  # not to an earlier run's log
    if is_finished(cfg):
        logging.info(f'{run_dir} is finished')
        return
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
    summary = train_dict[cfg.train.mode](data, callbacks=tuple(callbacks))
    if pl.utilities.rank_zero_only.rank != 0:
        return
    metric = summary['metric']
    logging.info(
        f'{run_dir}: test {metric} {summary["test"][metric]:.4f}, val {summary["val"][metric]:.4f} '
        f'at epoch {summary["best_epoch"]}; {summary["params"]} parameters, '
        f'{summary["seconds_per_epoch"]:.3f} s per epoch, {summary["peak_rss_mb"]:.0f} MB'
    )


def raised_here(error: BaseException) -> bool:
    """Whether this package raised the error: then it is a message; any other is a bug and needs its trace."""
    here = (Path(__file__).parent, Path(graphgps_ext.__file__).parent)
    file = Path(traceback.extract_tb(error.__traceback__)[-1].filename)
    return any(file.is_relative_to(folder) for folder in here)


def start(main: Callable[[], None]) -> None:
    """Calls the `main` of a command: an error raised here is a message, any other is a bug and its trace."""
    warnings.filterwarnings('ignore', category=FutureWarning)
    try:
        main()
    except (ValueError, OSError, RuntimeError) as error:
        if not raised_here(error):
            raise
        sys.exit(f'error: {error}')
    except KeyboardInterrupt:
        print('interrupted: the same command goes on where it stopped', file=sys.stderr)
        sys.exit(130)


def main() -> None:
    """All runs of the config, one after the other, then their aggregate."""
    args = parse_args()
    load_config(cfg, args.cfg_file, args.opts)
    if cfg.run_multiple_splits and args.repeat != 1:
        raise ConfigError('--repeat needs to be 1 with run_multiple_splits: its runs are the splits')
    if args.repeat < 1:
        raise ConfigError(f'--repeat needs to be at least 1, got {args.repeat}')
    if cfg.train.run_id and (cfg.run_multiple_splits or args.repeat > 1):
        raise ConfigError('train.run_id names the folder of one run: it needs --repeat 1 and no splits')
    torch.set_num_threads(min(cfg.num_threads, os.cpu_count() or 1))
    logging.getLogger(pl.__name__).setLevel(logging.WARNING)
    out_dir = Path(cfg.out_dir) / Path(args.cfg_file).stem
    for number in range(len(cfg.run_multiple_splits) or args.repeat):
        choose_run(out_dir, number)
        run_once()
    if pl.utilities.rank_zero_only.rank == 0:
        finish(out_dir, args)


def finish(out_dir: Path, args: Namespace) -> None:
    """Aggregates the finished runs of the config and prints the result."""
    best = aggregate(out_dir)
    metric = cfg.metric_best
    if metric == 'auto':
        metric = 'auc' if 'auc' in best['test'] else 'accuracy'
    print(
        f'{out_dir}: test {metric} {best["test"][metric]:.4f} ± {best["test"][f"{metric}_std"]:.4f} '
        f'over {best["test"]["runs"]} runs'
    )
    if args.mark_done:
        os.rename(args.cfg_file, f'{args.cfg_file}_done')


if __name__ == '__main__':
    start(main)
