"""A launch that is repeated is the one Triton itself would make, on a driver that only notes its launches."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest
import torch

triton = pytest.importorskip('triton')
pytestmark = pytest.mark.skipif(os.environ.get('TRITON_INTERPRET') == '1', reason='needs compiled kernels')

import triton.language as tl  # noqa: E402
from triton.backends.compiler import GPUTarget  # noqa: E402
from triton.runtime import driver  # noqa: E402

from graphgps_ext.ops.triton_launch import Launch, launch  # noqa: E402


@triton.jit(do_not_specialize=['n'])
def double(x, bias, out, n, factor, BLOCK: tl.constexpr, TWICE: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    y = tl.load(x + i, mask=i < n) * factor
    if bias is not None:
        y += tl.load(bias + i, mask=i < n)
    tl.store(out + i, y * TWICE, mask=i < n)


class NotingDriver:
    """Stands for that of a GPU of compute capability 9.0: kernels are compiled, and launches noted."""

    def __init__(self) -> None:
        self.launched: list[tuple[Any, ...]] = []
        self.binaries: list[bytes] = []
        self.utils = self

    def launcher_cls(self, source: Any, metadata: Any) -> Any:
        # The seventh argument is made anew for hooks: it names what the others hold.
        return lambda *arguments: self.launched.append(arguments[:6] + arguments[7:])

    def load_binary(self, name: str, binary: bytes, shared: int, device: int) -> tuple[int, ...]:
        if binary not in self.binaries:
            self.binaries.append(binary)
        return 0, self.binaries.index(binary), 32, 0, 1024

    def get_device_properties(self, device: int) -> dict[str, int]:
        return {'max_shared_mem': 2**17}

    def get_current_device(self) -> int:
        return 0

    def get_current_stream(self, device: int) -> int:
        return 0

    def get_current_target(self) -> GPUTarget:
        return GPUTarget('cuda', 90, 32)


@pytest.fixture
def noting(monkeypatch: pytest.MonkeyPatch) -> NotingDriver:
    made = NotingDriver()
    monkeypatch.setattr(driver, '_active', made)
    double.device_caches.clear()  # what was compiled is bound to the driver of then
    launch.cache_clear()
    return made


def calls() -> Iterator[tuple[tuple[Any, ...], tuple[Any, ...]]]:
    """(tensors, numbers) that differ in all that a version may depend on."""
    x = torch.zeros(64)
    others = (x, None, x), (x[1:], x, x), (x, x[1:], x), (x.bfloat16(), x, x), (x, x, x.half())
    for tensors in ((x, x, x), *others):
        for n in (16, 17, 1, 2**31):
            yield tensors, (n, 0.5)


def test_a_repeated_launch_is_that_of_triton(noting: NotingDriver) -> None:
    ours = launch(double, 1, BLOCK=32, TWICE=2)
    assert ours is launch(double, 1, BLOCK=32, TWICE=2)
    for tensors, numbers in list(calls()) * 2:
        ours((3, 1, 1), tensors, *numbers)
        double[(3, 1, 1)](*tensors, *numbers, BLOCK=32, TWICE=2, num_warps=1)
        found, truth = noting.launched[-2:]
        assert all(a is b or a == b for a, b in zip(found, truth, strict=True))


def test_only_a_new_kind_of_argument_asks_triton(noting: NotingDriver) -> None:
    ours = Launch(double, 1, {'BLOCK': 32, 'TWICE': 2})
    x = torch.zeros(64)
    for n in (16, 17, 1, 5):
        ours((1, 1, 1), (x, None, x), n, 0.5)
    assert len(ours.compiled) == 1 and len(noting.launched) == 4
    ours((1, 1, 1), (x[1:], None, x), 16, 0.5)
    assert len(ours.compiled) == 2


def test_constants_that_are_not_the_last_parameters_are_refused() -> None:
    with pytest.raises(ValueError, match=r"constants need to be the last of .*, got \('TWICE', 'BLOCK'\)"):
        Launch(double, 1, {'TWICE': 2, 'BLOCK': 32})
