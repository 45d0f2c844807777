"""What a run writes to TensorBoard: its config, its curves, and its row of hyper-parameters."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from tensorboard.compat.proto.summary_pb2 import Summary
from torch.utils.tensorboard import SummaryWriter
from torch.utils.tensorboard.summary import hparams
from yacs.config import CfgNode

from graphgps_ext.files import naming, written
from graphgps_ext.train.results import hyper_parameters


class Board(SummaryWriter):
    """The event file of a run in its folder, and `hparams.yaml` beside it."""

    def log_config(self, cfg: CfgNode, params: int) -> None:
        """The resolved config as text, the number of parameters, and the hyper-parameters as a file."""
        self.add_text('config', f'```yaml\n{cfg.dump()}```')
        self.add_scalar('params', params, 0)
        with written(Path(self.log_dir) / 'hparams.yaml') as path:
            path.write_text(yaml.safe_dump(hyper_parameters(cfg)), encoding='utf-8')

    def log(self, scalars: dict[str, float], step: int) -> None:
        """A point of each curve, all in one event: `add_scalar` makes one for each.

        Raises:
            OSError: if this or an earlier point cannot be written: a thread of TensorBoard does that.
        """
        points = [Summary.Value(tag=name, simple_value=value) for name, value in scalars.items()]
        with naming(Path(self.log_dir)):
            self._get_file_writer().add_summary(Summary(value=points), step)

    def flush(self) -> None:
        """Writes all points; raises as `log` does."""
        with naming(Path(self.log_dir)):
            super().flush()

    def close(self) -> None:
        """Writes all points and closes the file; raises as `log` does."""
        with naming(Path(self.log_dir)):
            super().close()

    def log_result(self, row: dict[str, Any], metrics: dict[str, float]) -> None:
        """The row of a finished run: hyper-parameters and metrics.

        Not by `add_hparams`: it also lists this run's keys as those of the whole comparison, and TensorBoard
        then shows the keys of whichever run it reads first. Without such a list it looks at all runs, and
        begins with the keys that differ among them.
        """
        self.log(metrics, step=0)
        plain = {k: v if isinstance(v, bool | int | float | str) else str(v) for k, v in row.items()}
        _, start, end = hparams(plain, metrics)
        writer = self._get_file_writer()
        writer.add_summary(start)
        writer.add_summary(end)
