"""Imported by the server of the workers: what a run would import, or set up, later than its command does.

Nothing in here may touch a GPU or start a thread. An ImportError in here is passed over by `multiprocessing`.
"""

import os

import tensorboard.plugins.hparams.plugin_data_pb2  # noqa: F401
import torch.utils.serialization.config  # noqa: F401
from numba.core.registry import cpu_target

import graphgps_ext.train.runs  # noqa: F401

for _context in (cpu_target.typing_context, cpu_target.target_context):
    _context.refresh()  # which numba does at the first call of a kernel, for 0.4 s

if os.getpgrp() != os.getpid():
    os.setsid()  # what a terminal or a scheduler sends to the group of the command is not for the server
