"""A search: an Optuna study whose trials are runs, and the config files with the best settings so far."""

from __future__ import annotations

import gc
import hashlib
import json
import math
import os
import shutil
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import optuna
import torch
from filelock import FileLock
from optuna.trial import FrozenTrial, TrialState
from torch_geometric.graphgym.config import cfg

from graphgps_ext.config.load import load_config
from graphgps_ext.config.tree import read_yaml, words, write_config
from graphgps_ext.errors import (
    ConfigError,
    DataError,
    NotFiniteError,
    OtherResultsError,
    ShortOfMemoryError,
)
from graphgps_ext.sampling import stream_key
from graphgps_ext.search.space import Settings, read_space
from graphgps_ext.search.storage import open_storage
from graphgps_ext.train.finished import finite
from graphgps_ext.train.results import PLACE_KEYS, flat_config, hyper_parameters, read_summary
from graphgps_ext.train.runs import choose_run, run_once
from graphgps_ext.train.shortage import shortage_explained

OF_ESTIMATOR = 'estimator.'  # how keys of stage 1 begin in the space
SHARED = ('dataset.', 'prep.', 'posenc_')  # what both stages need alike
ENDED = (TrialState.COMPLETE, TrialState.PRUNED)
LOOKS = 20  # at the other trials, by which a run may end early


def pruning(trial: optuna.Trial, epochs: int) -> Callable[[int, float], None]:
    """What ends a run whose best validation metric so far is below the median of the other trials'.

    Args:
        trial: the trial.
        epochs: of the run. There are `LOOKS` looks: each writes to the study, which all jobs share.

    Returns:
        To be called after each evaluation with the epoch and the best value so far.
    """
    looked = 0

    def look(epoch: int, best: float) -> None:
        nonlocal looked
        done = epoch + 1
        if done - looked < max(1, epochs // LOOKS) or done >= epochs or not math.isfinite(best):
            return
        looked = done
        trial.report(best, done)
        if trial.should_prune():
            raise optuna.TrialPruned

    return look


def validation(run_dir: Path) -> float:
    """The validation metric of a finished run: all that a search sees of it.

    Raises:
        UserError: if the summary is missing, damaged or has no such number.
    """
    summary = read_summary(run_dir)
    values, metric = summary.get('val'), summary.get('metric')
    value = values.get(metric) if isinstance(values, dict) and isinstance(metric, str) else None
    if not finite(value):
        raise DataError(f'{run_dir / "summary.json"} is damaged: it has no validation metric. Delete the run')
    return value


class Search:
    """A study of one config.

    Args:
        config: its file.
        space: file of the space (see :func:`graphgps_ext.search.space.read_space`).
        study: file of the study.
        estimator: config file of stage 1, trained before stage 2 once for each setting of its.
        repeat: seeds of each trial.
        overrides: key, value, key, value, ... on top of the config.
        job: number of this process among those that share the study.

    Raises:
        ConfigError: if the space does not fit the config.
        OtherResultsError: if the study is of another config or space.
    """

    def __init__(
        self,
        *,
        config: Path,
        space: Path,
        study: Path,
        estimator: Path | None = None,
        repeat: int = 1,
        overrides: Sequence[str] = (),
        job: int = 0,
    ) -> None:
        self.config, self.space_file, self.path, self.estimator = config, space, study, estimator
        self.repeat, self.opts, self.job = repeat, list(overrides), job
        given = dict(zip(overrides[::2], overrides[1::2], strict=False))  # an odd number is refused below
        self.shared = words(_shared(given))
        self.folder = study.with_suffix('')
        if self.folder == study:
            raise ConfigError(f'--study needs a file name that ends in .db, got {study}')
        base = self._base(given)
        self.space = read_space(space, {*base, *(f'{OF_ESTIMATOR}{key}' for key in base)})
        keys = [key for dimension in self.space.dimensions for key in dimension.keys]
        if estimator is None and any(key.startswith(OF_ESTIMATOR) for key in keys):
            raise ConfigError(f'{space} has keys of stage 1, which needs a config (--estimator)')
        self.study = self._open(base)

    def _base(self, given: Settings) -> Settings:
        """The keys before the search; those of stage 1 with `OF_ESTIMATOR` before their names."""
        base: Settings = {}
        self.made_estimator = None
        if self.estimator is not None:
            load_config(cfg, self.estimator, self.shared)
            base = {f'{OF_ESTIMATOR}{key}': value for key, value in flat_config(cfg).items()}
            self.made_estimator = hyper_parameters(cfg)
        load_config(cfg, self.config, self.opts)
        self.seed = cfg.seed
        self.results = Path(cfg.out_dir)
        self.named_estimator = cfg.spex.estimator
        flat = flat_config(cfg)
        self.overrides = {key: flat[key] for key in given if key not in PLACE_KEYS}
        return base | flat

    def _open(self, base: Settings) -> optuna.Study:
        """The study, new or as it was left."""
        made = {
            'config': hyper_parameters(cfg),
            'estimator': self.made_estimator,
            'space': read_yaml(self.space_file),
            'repeat': self.repeat,
        }
        made = json.loads(json.dumps(made))  # as the study gives it back
        self.folder.mkdir(parents=True, exist_ok=True)
        storage = open_storage(self.path, self.folder / 'trials.lock')
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
            seed=stream_key(self.seed, len(study.trials), self.job) % 2**32
        )
        if study.user_attrs['made'] != made:
            changed = ', '.join(key for key in made if made[key] != study.user_attrs['made'].get(key))
            raise OtherResultsError(
                f'{self.path} is a study of another {changed}: choose another file (--study)'
            )
        return study

    def _count(self, *states: TrialState) -> int:
        """Number of trials in these states."""
        return len(self.study.get_trials(deepcopy=False, states=states))

    def run(self, trials: int) -> None:
        """Trials until the study has as many as asked for; those of a killed process are tried again."""
        with warnings.catch_warnings():
            warnings.simplefilter('ignore', optuna.exceptions.ExperimentalWarning)
            optuna.storages.fail_stale_trials(self.study)
        left = trials - self._count(*ENDED)
        if left > 0:
            stop = optuna.study.MaxTrialsCallback(trials, states=ENDED)
            self.study.optimize(self.objective, n_trials=left, callbacks=[stop, self.tell])

    def objective(self, trial: optuna.Trial) -> float:
        """The mean validation metric of the runs of a trial."""
        settings = self.space.suggest(trial)
        folder = self.folder / 'trials' / str(trial.number)
        shutil.rmtree(folder, ignore_errors=True)
        try:
            own = {**_own(settings), 'spex.estimator': self._train_estimator(settings)}
            load_config(cfg, self.config, [*self.opts, *words(own), 'out_dir', str(folder)])
            values = self._train(folder / self.config.stem, self.repeat, pruning(trial, cfg.optim.max_epoch))
        except (ConfigError, NotFiniteError, ShortOfMemoryError) as error:
            trial.set_user_attr('error', str(error))
            raise optuna.TrialPruned from error  # settings that cannot be run are not good ones
        finally:
            for checkpoints in folder.glob('*/*/ckpt'):
                shutil.rmtree(checkpoints)
            gc.collect()
            torch.cuda.empty_cache()
        return sum(values) / len(values)

    @staticmethod
    def _train(
        out_dir: Path, repeat: int, after_evaluation: Callable[[int, float], None] | None = None
    ) -> list[float]:
        """Runs the config that `cfg` holds, as `train` does; the validation metric of each run."""
        torch.set_num_threads(min(cfg.num_threads, os.cpu_count() or 1))
        values = []
        for number in range(len(cfg.run_multiple_splits) or repeat):
            choose_run(out_dir, number)
            with shortage_explained():
                run_once(after_evaluation if number == 0 else None)
            values.append(validation(Path(cfg.run_dir)))
        return values

    def _train_estimator(self, settings: Settings) -> str:
        """Stage 1 for these settings, unless it is there; its result folder, for `spex.estimator`."""
        if self.estimator is None:
            named = self.named_estimator
            # A folder is taken as it is; a name is that of a folder among the results.
            return str(self.results / named) if len(Path(named).parts) == 1 else named
        keys = [*self.shared, *words(_of_estimator(settings))]
        name = hashlib.blake2b(json.dumps(keys).encode(), digest_size=6).hexdigest()
        folder = self.folder / 'estimators' / name
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / 'lock'):
            load_config(cfg, self.estimator, [*keys, 'out_dir', str(folder)])
            self._train(folder / self.estimator.stem, 1)
        return str(folder / self.estimator.stem)

    def tell(self, study: optuna.Study, trial: FrozenTrial) -> None:
        """Prints a trial that has ended, and writes the best settings."""
        settings = ', '.join(f'{k} {v}' for k, v in self.space.settings(trial.params).items())
        value = trial.user_attrs.get('error', 'pruned') if trial.value is None else f'{trial.value:.4f}'
        print(f'trial {trial.number}: validation {value}: {settings}', flush=True)
        if self._count(TrialState.COMPLETE):
            with FileLock(self.folder / 'study.lock'):
                self.write_best(self.best())

    def best(self) -> Settings:
        """The best settings so far.

        Raises:
            DataError: if no trial has come to its end.
        """
        if not self._count(TrialState.COMPLETE):
            raise DataError(f'no trial of {self.path} came to its end: see what was printed for each')
        return self.space.settings(self.study.best_params)

    def write_best(self, settings: Settings) -> None:
        """Writes the config files with the best settings to `best/`."""
        study, folder = self.study, self.folder / 'best'
        title = (
            f'Best of {self._count(*ENDED)} trials by validation '
            f'({study.best_value:.4f}, trial {study.best_trial.number}), from'
        )
        own = self.overrides | _own(settings)
        if self.estimator is not None:
            first = _shared(self.overrides) | _of_estimator(settings)
            write_config(folder / self.estimator.name, self.estimator, first, f'{title} {self.estimator}.')
            own['spex.estimator'] = self.estimator.stem
        write_config(folder / self.config.name, self.config, own, f'{title} {self.config}.')


def _own(settings: Settings) -> Settings:
    """Of settings of the space, those of the config itself."""
    return {key: value for key, value in settings.items() if not key.startswith(OF_ESTIMATOR)}


def _of_estimator(settings: Settings) -> Settings:
    """Of settings of the space, those of stage 1, under their own names."""
    wanted = (OF_ESTIMATOR, *SHARED)
    return {k.removeprefix(OF_ESTIMATOR): v for k, v in settings.items() if k.startswith(wanted)}


def _shared(settings: Settings) -> Settings:
    """Of overrides, those which stage 1 needs too: data, graph, and where it runs."""
    return {k: v for k, v in settings.items() if k.startswith(SHARED) or '.' not in k}
