"""Launches of Triton kernels that cost the host little when they come again.

At every launch Triton looks at each argument to find the version of the kernel that was compiled for it. For
the forty arguments of an attention kernel that took 25 us of a host's time. Here the constants belong to a
launch, which is made once, and of the rest only what can change is looked at: 8 us on the same host.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
import triton
from torch import Tensor
from triton.runtime import driver


class Launch:
    """One kernel with all its constants.

    Called with the grid (three numbers), the tensors, some of them None, and the numbers, in the order of the
    kernel's parameters; the constants come last there. Integers have to be named in `do_not_specialize`.
    """

    def __init__(self, kernel: Any, num_warps: int, constants: dict[str, Any]) -> None:
        self.kernel = kernel
        self.options = {**constants, 'num_warps': num_warps}
        self.constants = tuple(constants.values())
        self.compiled: dict[tuple[Any, ...], Any] = {}
        # The interpreter compiles nothing; for AMD the version depends on sizes of tensors too.
        self.remembers = isinstance(kernel, triton.JITFunction) and torch.version.hip is None
        if self.remembers and tuple(constants) != tuple(kernel.arg_names[-len(constants) :]):
            raise ValueError(f'constants need to be the last of {kernel.arg_names}, got {tuple(constants)}')

    def __call__(
        self, grid: tuple[int, int, int], tensors: tuple[Tensor | None, ...], *numbers: float
    ) -> None:
        if not self.remembers:
            self.kernel[grid](*tensors, *numbers, **self.options)
            return
        # All that decides about the version: the types of the arguments, and whether addresses are aligned.
        key = (
            driver.active.get_current_device(),
            max(numbers) < 2**31,
            *[None if x is None else (x.dtype, x.data_ptr() % 16) for x in tensors],
        )
        compiled = self.compiled.get(key)
        if compiled is None:
            self.compiled[key] = self.kernel[grid](*tensors, *numbers, **self.options)
        else:
            compiled[grid](*tensors, *numbers, *self.constants)


@cache
def launch(kernel: Any, num_warps: int, **constants: Any) -> Launch:
    """The launch of a kernel with these constants, the same one each time."""
    return Launch(kernel, num_warps, constants)
