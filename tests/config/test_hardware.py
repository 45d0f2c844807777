"""Devices that a config asks for and this machine has not."""

from __future__ import annotations

import pytest
import torch
from yacs.config import CfgNode

from graphgps_ext.config.hardware import check_hardware
from graphgps_ext.errors import ConfigError


@pytest.mark.parametrize(
    ('gpus', 'accelerator', 'devices', 'problem'),
    [
        (0, 'cuda', 1, 'accelerator cuda needs such a device, got none here'),
        (0, 'gpu', 1, 'accelerator gpu needs a GPU, got none here'),
        (0, 'mps', 1, 'accelerator mps needs such a device, got none here'),
        (2, 'cuda', 3, r'devices needs to be at most 2 here \(accelerator cuda\), got 3'),
        (2, 'auto', 3, r'devices needs to be at most 2 here \(accelerator auto\), got 3'),
        (2, 'gpu', 2, None),
        (2, 'cpu', 8, None),
        (0, 'auto', 8, None),
    ],
)
def test_devices_that_are_not_there_are_named(
    graphgym_cfg: CfgNode,
    monkeypatch: pytest.MonkeyPatch,
    gpus: int,
    accelerator: str,
    devices: int,
    problem: str | None,
) -> None:
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: gpus > 0)
    monkeypatch.setattr(torch.cuda, 'device_count', lambda: gpus)
    monkeypatch.setattr(torch.backends.mps, 'is_available', lambda: False)
    graphgym_cfg.accelerator, graphgym_cfg.devices = accelerator, devices
    if problem is None:
        check_hardware(graphgym_cfg)
    else:
        with pytest.raises(ConfigError, match=problem):
            check_hardware(graphgym_cfg)
