"""Imported by the server of the workers: what a run would import, or set up, later than its command does.

Nothing in here may touch a GPU or start a thread.
"""

import torch.utils.tensorboard  # noqa: F401
from numba.core.registry import cpu_target

import graphgps_ext.ops.numba_impl
import graphgps_ext.ops.numba_transpose
import graphgps_ext.sampling.neighbors_numba
import graphgps_ext.sampling.relabel  # noqa: F401

for _context in (cpu_target.typing_context, cpu_target.target_context):
    _context.refresh()  # which numba does at the first call of a kernel, for 0.4 s
