"""Searches settings by the validation metric: python run/tune.py --cfg FILE --space FILE [key value ...]

    --trials N        trials of the study in all (default 20); the same command continues a killed search
    --study FILE      the study, an SQLite file of Optuna (default results/tune/<config name>.db)
    --estimator FILE  config of stage 1, trained before stage 2 with the same keys of `dataset`, `prep` and
                      `posenc_*`, once for each setting; the space's keys that begin with `estimator.` are its
    --repeat N        seeds of each trial, whose validation metrics are averaged (or run_multiple_splits)
    --jobs N          processes that share the study
    key value         overrides of the config, as for run/main.py

Beside the study stands a folder of its name: `best/`, the config files with the best settings so far, and
`trials/<number>/`, what each trial has recorded. The test metric is neither read nor printed.
"""

from __future__ import annotations

import argparse
import gc
import hashlib
import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import warnings
from pathlib import Path

import optuna
import torch
from filelock import FileLock
from main import choose_run, run_once, start
from optuna.trial import FrozenTrial, TrialState
from torch_geometric.graphgym.config import cfg
from torch_geometric.graphgym.imports import pl
from tune_config import pairs, words, write_config
from tune_space import Settings, read_space

from graphgps_ext.config.check import ConfigError
from graphgps_ext.config.load import load_config
from graphgps_ext.config.tree import read_yaml
from graphgps_ext.sampling import stream_key
from graphgps_ext.train.callbacks import SELECTION
from graphgps_ext.train.results import PLACE_KEYS, flat_config, hyper_parameters

OF_ESTIMATOR = 'estimator.'  # how keys of stage 1 begin in the space
SHARED = ('dataset.', 'prep.', 'posenc_')  # what both stages need alike
ENDED = (TrialState.COMPLETE, TrialState.PRUNED)
LOOKS = 20  # at the other trials, by which a run may end early
HEARTBEAT = 30  # seconds; a trial of which nothing was heard for twice as long was killed, and is tried again


class Pruning(pl.Callback):
    """Ends a run whose best validation metric so far is below the median of the other trials'.

    Args:
        trial: the trial.
        every: epochs between two looks at the other trials; each writes to the study, which all jobs share.
    """

    def __init__(self, trial: optuna.Trial, every: int) -> None:
        self.trial = trial
        self.every = every
        self.best = float('-inf')

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Reports the epochs before, whose metrics are known by now."""
        value = trainer.callback_metrics.get(SELECTION)
        if value is None or not torch.isfinite(value):
            return
        self.best = max(self.best, float(value))
        if trainer.current_epoch % self.every:
            return
        self.trial.report(self.best, trainer.current_epoch)
        if self.trial.should_prune():
            raise optuna.TrialPruned


class Search:
    """A study of one config.

    Args:
        args: of the command line.
    """

    def __init__(self, args: argparse.Namespace) -> None:
        self.args = args
        self.path = Path(args.study or f'results/tune/{args.cfg.stem}.db')
        self.folder = self.path.with_suffix('')
        if self.folder == self.path:
            raise ConfigError(f'--study needs a file name that ends in .db, got {self.path}')
        base = self._base()
        self.space = read_space(args.space, {**base, **{f'{OF_ESTIMATOR}{key}': 0 for key in base}})
        if not args.estimator and any(OF_ESTIMATOR in d.name for d in self.space.dimensions):
            raise ConfigError(f'{args.space} has keys of stage 1, which needs a config (--estimator)')
        self.study = self._open(base)

    def _base(self) -> Settings:
        """The keys before the search; those of stage 1 with `OF_ESTIMATOR` before their names."""
        base: Settings = {}
        if self.args.estimator:
            load_config(cfg, self.args.estimator, self._shared(pairs(self.args.opts)))
            base = {f'{OF_ESTIMATOR}{key}': value for key, value in flat_config(cfg).items()}
            self.made_estimator = hyper_parameters(cfg)
        load_config(cfg, self.args.cfg, self.args.opts)
        self.seed = cfg.seed
        self.results = Path(cfg.out_dir)
        self.estimator = cfg.spex.estimator
        flat = flat_config(cfg)
        self.overrides = {key: flat[key] for key in pairs(self.args.opts) if key not in PLACE_KEYS}
        return base | flat

    def _open(self, base: Settings) -> optuna.Study:
        """The study, new or as it was left.

        Raises:
            ValueError: if it is of another config or space.
        """
        made = {
            'config': hyper_parameters(cfg),
            'estimator': self.made_estimator if self.args.estimator else None,
            'space': read_yaml(self.args.space),
            'repeat': self.args.repeat,
        }
        made = json.loads(json.dumps(made))
        self.folder.mkdir(parents=True, exist_ok=True)
        with warnings.catch_warnings():
            warnings.simplefilter('ignore', optuna.exceptions.ExperimentalWarning)  # of heartbeats
            storage = optuna.storages.RDBStorage(
                f'sqlite:///{self.path}',
                engine_kwargs={'connect_args': {'timeout': 100}},
                heartbeat_interval=HEARTBEAT,
                heartbeat_stale_trial_callback=optuna.storages.RetryHeartbeatStaleTrialCallback(),
            )
        with FileLock(self.folder / 'study.lock'):
            study = optuna.create_study(
                study_name=self.path.stem,
                storage=storage,
                direction='maximize',
                load_if_exists=True,
                pruner=optuna.pruners.MedianPruner(
                    n_startup_trials=5, n_warmup_steps=cfg.optim.max_epoch // 3
                ),
            )
            if 'made' not in study.user_attrs:
                study.set_user_attr('made', made)
                study.enqueue_trial(self.space.stored(base))  # what there is already
        study.sampler = optuna.samplers.TPESampler(
            seed=stream_key(self.seed, len(study.trials), self.args.job) % 2**32
        )
        if study.user_attrs['made'] != made:
            changed = ', '.join(key for key in made if made[key] != study.user_attrs['made'].get(key))
            raise ValueError(f'{self.path} is a study of another {changed}: choose another file (--study)')
        return study

    @staticmethod
    def _shared(settings: dict[str, str]) -> list[str]:
        """Of overrides, those which stage 1 needs too: data, graph, and where it runs."""
        return words({k: v for k, v in settings.items() if k.startswith(SHARED) or '.' not in k})

    def run(self) -> None:
        """Trials until the study has as many as asked for."""
        left = self.args.trials - len(self.study.get_trials(deepcopy=False, states=ENDED))
        if left > 0:
            stop = optuna.study.MaxTrialsCallback(self.args.trials, states=ENDED)
            self.study.optimize(self.objective, n_trials=left, callbacks=[stop, self.tell])

    def objective(self, trial: optuna.Trial) -> float:
        """The mean validation metric of the runs of a trial."""
        settings = self.space.suggest(trial)
        folder = self.folder / 'trials' / str(trial.number)
        shutil.rmtree(folder, ignore_errors=True)
        try:
            own = {k: v for k, v in settings.items() if not k.startswith(OF_ESTIMATOR)}
            own['spex.estimator'] = self._train_estimator(settings)
            load_config(cfg, self.args.cfg, [*self.args.opts, *words(own), 'out_dir', str(folder)])
            pruning = Pruning(trial, every=max(1, cfg.optim.max_epoch // LOOKS))
            values = self._train(folder / self.args.cfg.stem, self.args.repeat, pruning)
        except (ConfigError, torch.OutOfMemoryError) as error:
            trial.set_user_attr('error', str(error))
            raise optuna.TrialPruned from error  # settings that cannot be run are not good ones
        finally:
            for checkpoints in folder.glob('*/*/ckpt'):
                shutil.rmtree(checkpoints)
            gc.collect()
            torch.cuda.empty_cache()
        return sum(values) / len(values)

    def _train(self, out_dir: Path, repeat: int, *callbacks: pl.Callback) -> list[float]:
        """Runs the config that `cfg` holds, as run/main.py does; the validation metric of each run."""
        torch.set_num_threads(min(cfg.num_threads, os.cpu_count() or 1))
        values = []
        for number in range(len(cfg.run_multiple_splits) or repeat):
            choose_run(out_dir, number)
            run_once(callbacks if number == 0 else ())
            values.append(validation(Path(cfg.run_dir)))
        return values

    def _train_estimator(self, settings: Settings) -> str:
        """Stage 1 for these settings, unless it is there; its result folder, for `spex.estimator`."""
        if not self.args.estimator:
            if not self.estimator:
                return ''
            named = Path(self.estimator)
            return str(self.results / named) if len(named.parts) == 1 else str(named)
        own = {
            k.removeprefix(OF_ESTIMATOR): v
            for k, v in settings.items()
            if k.startswith((OF_ESTIMATOR, *SHARED))
        }
        keys = [*self._shared(pairs(self.args.opts)), *words(own)]
        name = hashlib.blake2b(json.dumps(keys).encode(), digest_size=6).hexdigest()
        folder = self.folder / 'estimators' / name
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / 'lock'):
            load_config(cfg, self.args.estimator, [*keys, 'out_dir', str(folder)])
            self._train(folder / self.args.estimator.stem, 1)
        return str(folder / self.args.estimator.stem)

    def tell(self, study: optuna.Study, trial: FrozenTrial) -> None:
        """Prints a trial that has ended, and writes the best settings."""
        settings = ', '.join(f'{k} {v}' for k, v in self.space.settings(trial.params).items())
        value = trial.user_attrs.get('error', 'pruned') if trial.value is None else f'{trial.value:.4f}'
        print(f'trial {trial.number}: validation {value}: {settings}', flush=True)
        complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        if complete:
            with FileLock(self.folder / 'study.lock'):
                self.write_best(self.space.settings(study.best_trial.params), study)

    def write_best(self, settings: Settings, study: optuna.Study) -> None:
        """Writes the config files with the best settings to `best/`."""
        title = (
            f'# Best of {len(study.get_trials(deepcopy=False, states=ENDED))} trials by validation '
            f'({study.best_value:.4f}, trial {study.best_trial.number}), from {{}}.\n'
        )
        own = {k: v for k, v in settings.items() if not k.startswith(OF_ESTIMATOR)}
        own = self.overrides | own
        if self.args.estimator:
            first = {k: v for k, v in self.overrides.items() if k.startswith(SHARED) or '.' not in k}
            first |= {
                k.removeprefix(OF_ESTIMATOR): v
                for k, v in settings.items()
                if k.startswith((OF_ESTIMATOR, *SHARED))
            }
            write_config(self.folder / 'best', self.args.estimator, first, title)
            own['spex.estimator'] = self.args.estimator.stem
        write_config(self.folder / 'best', self.args.cfg, own, title)


def validation(run_dir: Path) -> float:
    """The validation metric of a finished run: all that a search sees of it."""
    summary = json.loads((run_dir / 'summary.json').read_text(encoding='utf-8'))
    return summary['val'][summary['metric']]


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--cfg', type=Path, required=True)
    parser.add_argument('--space', type=Path, required=True)
    parser.add_argument('--trials', type=int, default=20)
    parser.add_argument('--study', type=Path)
    parser.add_argument('--estimator', type=Path)
    parser.add_argument('--repeat', type=int, default=1)
    parser.add_argument('--jobs', type=int, default=1)
    parser.add_argument('--job', type=int, default=0, help=argparse.SUPPRESS)
    parser.add_argument('opts', nargs=argparse.REMAINDER)
    return parser.parse_args()


def main() -> None:
    """The search, in this process or in several, and its result."""
    args = parse_arguments()
    for name in ('trials', 'repeat', 'jobs'):
        if getattr(args, name) < 1:
            raise ValueError(f'--{name} needs to be at least 1, got {getattr(args, name)}')
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    logging.getLogger(pl.__name__).setLevel(logging.WARNING)
    logging.disable(logging.INFO)  # a run would print its test metric
    try:
        search = Search(args)
        if args.jobs > 1:
            run_jobs(args)
        else:
            search.run()
    finally:
        logging.disable(logging.NOTSET)
    if args.job:
        return
    complete = search.study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    if not complete:
        raise RuntimeError(f'no trial of {search.path} came to its end: see what was printed for each')
    print(f'{search.path}: best validation {search.study.best_value:.4f}, config in {search.folder / "best"}')
    for key, value in search.space.settings(search.study.best_params).items():
        print(f'  {key}: {value}')


def run_jobs(args: argparse.Namespace) -> None:
    """Processes of this same command, one job each, until all have ended."""
    options = sys.argv[: len(sys.argv) - len(args.opts)]
    processes = [
        subprocess.Popen([sys.executable, *options, '--jobs', '1', '--job', str(job), *args.opts])
        for job in range(1, args.jobs + 1)
    ]
    try:
        codes = [process.wait() for process in processes]
    except KeyboardInterrupt:  # a terminal has told them too, another sender may not have
        for process in processes:
            process.send_signal(signal.SIGINT)
        for process in processes:
            process.wait()
        raise
    if any(codes):
        raise RuntimeError(
            f'{sum(map(bool, codes))} of {args.jobs} processes failed: see their messages above'
        )


if __name__ == '__main__':
    start(main)
