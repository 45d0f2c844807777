"""One run in its folder: its devices, what it is computed from, and the checkpoint that it goes on from."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, Self, cast

from lightning_fabric import Fabric
from lightning_fabric.plugins.environments import LightningEnvironment
from lightning_fabric.utilities.rank_zero import rank_zero_only
from torch_geometric.graphgym.config import cfg
from torch_geometric.graphgym.logger import set_printing

from graphgps_ext.errors import DataError, MissingFileError, OtherResultsError, UserError
from graphgps_ext.files import delete, delete_left, written
from graphgps_ext.train import results
from graphgps_ext.train.checkpoint import read_checkpoint
from graphgps_ext.train.lock import locked
from graphgps_ext.train.stats import Stats

AfterEvaluation = Callable[[int, float], None]


def launch() -> Fabric:
    """The devices of the config; with several, this same command is started for each further one."""
    logging.getLogger('lightning_fabric').setLevel(logging.WARNING)  # no advice on precision in every run
    devices = cfg.devices or 1
    # One device is nobody's part, whatever a scheduler's variables say of ranks.
    alone = LightningEnvironment() if devices == 1 else None
    fabric = Fabric(
        accelerator=cfg.accelerator, devices=devices, precision=cfg.train.precision, plugins=alone
    )
    fabric.launch()
    # Until now that of a whole job, by variables of its scheduler.
    cast(Any, rank_zero_only).rank = fabric.global_rank
    return fabric


class Run:
    """The run of `cfg.run_dir`. As a context it holds the lock of its folder from :meth:`start` on.

    Args:
        fabric: of :func:`launch`.
        inputs: fingerprints of what it is computed from; complete when it starts.
        after_evaluation: is told each evaluated epoch and what the best one so far is chosen by; may raise.

    Attributes:
        stats: its record of epochs.
    """

    def __init__(
        self, fabric: Fabric, inputs: dict[str, str], after_evaluation: AfterEvaluation | None = None
    ) -> None:
        self.fabric = fabric
        self.inputs = inputs
        self.after_evaluation = after_evaluation
        self.folder = Path(cfg.run_dir)
        self.stats = Stats(self.folder)
        self._held = ExitStack()

    @cached_property
    def identity(self) -> str:
        """What tells it from other runs; asked for once its inputs are complete."""
        return results.identity(cfg, self.inputs)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._held.close()

    def start(self) -> Path | None:
        """Takes the folder; nothing is written before. The checkpoint to go on from, if there is one.

        Raises:
            OtherResultsError: if another process or results of something else are there.
            DataError: if what is there is damaged, and cannot be made whole by going on.
            MissingFileError: if the best epoch is lost.
        """
        name = None
        if self.fabric.is_global_zero:
            self._held.enter_context(locked(self.folder))
            try:
                results.refuse_others(cfg, self.inputs)
                name = self._choose_checkpoint()
            except UserError as error:
                if not cfg.train.overwrite:
                    raise
                logging.info(f'train.overwrite: {error}')
                results.clear(self.folder)
            self._write_config()
            set_printing()  # adds GraphGym's log in the folder
        name = self.fabric.broadcast(name)
        return None if name is None else self.checkpoint(name)

    def checkpoint(self, name: str) -> Path:
        """Where a checkpoint lies."""
        return self.folder / 'ckpt' / name

    def _choose_checkpoint(self) -> str | None:
        """The last one, or if it is damaged that of the best epoch; epochs recorded later are dropped."""
        problems = []
        for name in ('last.ckpt', 'best.ckpt'):
            path = self.checkpoint(name)
            if not path.exists():
                continue
            try:
                found = read_checkpoint(path, run=self.identity)
                if name == 'last.ckpt':
                    self._check_best(found['best_epoch'])
                self.stats.go_on(found['stats'])
            except (DataError, OtherResultsError, MissingFileError) as error:
                problems.append(str(error))
                continue
            for problem in problems:
                logging.warning(f'{problem}: on from the best epoch instead')
            return name
        if problems:
            raise DataError(
                f'{"; ".join(problems)}. The run cannot go on: train.overwrite True deletes {self.folder} '
                f'and trains anew'
            )
        self.stats.begin()
        return None

    def _check_best(self, best_epoch: int) -> None:
        """Refuses to go on to an end at which the best epoch would be missing."""
        path = self.checkpoint('best.ckpt')
        if not path.is_file():
            raise MissingFileError(f'{path}, the best epoch by validation, is gone')
        if (epoch := read_checkpoint(path, run=self.identity)['epoch']) < best_epoch:
            raise DataError(f'{path} is of epoch {epoch}, but the best one was epoch {best_epoch}')

    def _write_config(self) -> None:
        """Marks the folder as that of a run under way; half-written files of a killed process go."""
        for name in (results.CHECKSUMS, results.SUMMARY):
            delete(self.folder / name)
        delete_left(self.folder)
        results.write_json(self.folder / results.INPUTS, self.inputs)
        with written(self.folder / results.CONFIG) as temporary:
            temporary.write_text(cfg.dump(), encoding='utf-8')
