"""Whether this machine has what a config asks for."""

from __future__ import annotations

import torch
from yacs.config import CfgNode

from graphgps_ext.errors import ConfigError


def check_hardware(cfg: CfgNode) -> None:
    """Looks for the devices of a config; unlike its values they are those of one machine.

    Raises:
        ConfigError: if there are not so many of them.
    """
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    has_mps = torch.backends.mps.is_available()
    wanted = cfg.accelerator
    if (wanted == 'cuda' and not gpus) or (wanted == 'mps' and not has_mps):
        raise ConfigError(f'accelerator {wanted} needs such a device, got none here (set accelerator auto)')
    if wanted == 'gpu' and not gpus and not has_mps:
        raise ConfigError('accelerator gpu needs a GPU, got none here (set accelerator auto)')
    count = gpus if gpus and wanted != 'mps' else 1
    if wanted != 'cpu' and (gpus or has_mps) and cfg.devices > count:
        raise ConfigError(
            f'devices needs to be at most {count} here (accelerator {wanted}), got {cfg.devices}'
        )
