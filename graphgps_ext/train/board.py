"""What a run writes to TensorBoard beside its curves: its config, and its row of hyper-parameters."""

from __future__ import annotations

from typing import Any

from torch.utils.tensorboard.summary import hparams
from torch_geometric.graphgym.imports import pl


def log_config(logger: pl.loggers.TensorBoardLogger, config: str, params: int) -> None:
    """The resolved config as text, and the number of parameters."""
    logger.experiment.add_text('config', f'```yaml\n{config}```')
    logger.experiment.add_scalar('params', params, 0)


def log_result(
    logger: pl.loggers.TensorBoardLogger, hyper_parameters: dict[str, Any], metrics: dict[str, float]
) -> None:
    """The row of a finished run: hyper-parameters and metrics.

    Not by `log_hyperparams`: it also lists this run's keys as those of the whole comparison, and TensorBoard
    then shows the keys of whichever run it reads first. Without such a list it looks at all runs, and begins
    with the keys that differ among them.
    """
    logger.log_metrics(metrics, step=0)
    plain = {k: v if isinstance(v, bool | int | float | str) else str(v) for k, v in hyper_parameters.items()}
    _, start, end = hparams(plain, metrics)
    writer = logger.experiment._get_file_writer()
    writer.add_summary(start)
    writer.add_summary(end)
