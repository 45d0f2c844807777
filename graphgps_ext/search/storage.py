"""Where a study keeps its trials: a file of SQLite, which several jobs share."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path

import optuna
from filelock import FileLock
from optuna.trial import TrialState

HEARTBEAT = 30  # seconds; a trial of which nothing was heard for twice as long was killed, and is tried again


def open_storage(path: Path, lock: Path) -> optuna.storages.BaseStorage:
    """The storage in the file `path`, new or as it was left; `lock` is a file of the study's own."""
    with warnings.catch_warnings():
        warnings.simplefilter('ignore', optuna.exceptions.ExperimentalWarning)  # of heartbeats
        return _Storage(
            f'sqlite:///{path}',
            engine_kwargs={'connect_args': {'timeout': 100}},
            heartbeat_interval=HEARTBEAT,
            heartbeat_stale_trial_callback=optuna.storages.RetryHeartbeatStaleTrialCallback(),
            lock=lock,
        )


class _Storage(optuna.storages.RDBStorage):
    """Optuna's, in which one job alone gets a trial that waits: SQLite does not lock what is read."""

    def __init__(self, *args: object, lock: Path, **kwargs: object) -> None:
        self.lock = lock
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]

    def set_trial_state_values(
        self, trial_id: int, state: TrialState, values: Sequence[float] | None = None
    ) -> bool:
        with FileLock(self.lock):
            return super().set_trial_state_values(trial_id, state, values)
