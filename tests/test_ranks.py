"""One device: whatever a scheduler's variables say of ranks, the process is the first and only one."""

from __future__ import annotations

import functools
import os
from pathlib import Path

import pytest
import runs

SHORT = {'optim.max_epoch': 1}
OF_SLURM = {
    'SLURM_JOB_ID': '7',
    'SLURM_JOB_NAME': 'shards',
    'SLURM_NTASKS': '2',
    'SLURM_PROCID': '1',
    'SLURM_LOCALID': '1',
    'SLURM_NODEID': '0',
}
OF_TORCHRUN = {'RANK': '1', 'LOCAL_RANK': '1', 'WORLD_SIZE': '2', 'LOCAL_WORLD_SIZE': '2', 'GROUP_RANK': '0'}


def started_by(variables: dict[str, str]) -> None:
    """As if they had been there when Lightning was imported, which reads them then."""
    from lightning_fabric.utilities.rank_zero import rank_zero_only

    os.environ.update(variables)
    rank_zero_only.rank = 1


@pytest.mark.parametrize(
    'variables',
    [OF_SLURM, OF_SLURM | {'SLURM_NTASKS_PER_NODE': '2'}, OF_TORCHRUN, OF_SLURM | OF_TORCHRUN],
    ids=['srun', 'srun per node', 'torchrun', 'torchrun in srun'],
)
def test_one_device_trains_and_is_read_again_under_any_scheduler(
    tmp_path: Path, variables: dict[str, str]
) -> None:
    folder = tmp_path / runs.CONFIGS['Exphormer'].stem
    for _ in ('trains', 'is finished'):
        code, output = runs.run_elsewhere(
            'Exphormer', tmp_path, SHORT, functools.partial(started_by, variables)
        )
        assert code == 0, output
        assert f'{folder}: test auc ' in output.splitlines()[-1]
    assert runs.summary(folder / '0')['epochs'] == 1 and (folder / 'agg/test/best.json').is_file()
