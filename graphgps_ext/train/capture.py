"""A step on a full batch as one CUDA graph: a few calls as they come, then recorded, then replayed.

A replay launches all kernels of a step at once; of Tolokers' stage 2 it takes a twelfth of the time of the
launches one by one. It reads and writes the addresses of the recording, so everything that changes from epoch
to epoch is either written there (the tensors of the batch, learning rate, temperature) or lies there anyway
(weights, moments); the random numbers of dropout start from the seed of the moment.
"""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor
from torch_geometric.data import Data

from graphgps_ext.transform.batch import batch_tensors

WAIT = 'called a synchronizing CUDA operation'  # how torch begins its warning of a wait
OF_WATCHING = 'Synchronization debug mode is a prototype feature'


class CapturedStep:
    """A step, called with a batch of each epoch.

    The first call runs as it comes: it compiles kernels and makes the moments of the optimizer. In the second
    one waits for the device are noted, which no CUDA graph can hold; a step that waits goes on as it comes
    and says so once. The third is recorded.

    Args:
        name: of the step, for messages.
        step: batch to a tensor of results, on the device; it changes nothing else that the host would see.
    """

    def __init__(self, name: str, step: Callable[[Data], Tensor]) -> None:
        self.name = name
        self.step = step
        self.calls = 0
        self.waits = False
        self.graph: torch.cuda.CUDAGraph | None = None
        self._tensors: list[Tensor] = []
        self._results: Tensor | None = None

    def __call__(self, batch: Data) -> Tensor:
        """Results of the step; a later call may overwrite them."""
        self.calls += 1
        if self.calls == 1 or self.waits:
            return self.step(batch)
        if self.calls == 2:
            return self._watched(batch)
        if self.graph is not None and not self._write(batch):
            self.graph = None  # of other shapes: recorded anew
        if self.graph is None and not self._record(batch):
            return self.step(batch)
        assert self.graph is not None and self._results is not None
        self.graph.replay()
        return self._results

    def forget(self) -> None:
        """Starts anew: what the step does has changed."""
        self.calls, self.waits, self.graph = 0, False, None
        self._tensors, self._results = [], None

    def _watched(self, batch: Data) -> Tensor:
        before = torch.cuda.get_sync_debug_mode()
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter('always')
            torch.cuda.set_sync_debug_mode('warn')
            try:
                results = self.step(batch)
            finally:
                torch.cuda.set_sync_debug_mode(before)
        waits = [warning for warning in caught if str(warning.message).startswith(WAIT)]
        for warning in caught:
            if warning not in waits and OF_WATCHING not in str(warning.message):
                warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
        if waits:
            places = dict.fromkeys(f'{_short(wait.filename)}:{wait.lineno}' for wait in waits)
            self._go_on_eagerly(f'it waits for the device in {", ".join(places)}')
        return results

    def _record(self, batch: Data) -> bool:
        """Records the step on the tensors of this batch; nothing of it is computed yet."""
        graph = torch.cuda.CUDAGraph()
        generator = torch.cuda.default_generators[torch.cuda.current_device()]
        numbers = generator.clone_state()
        try:
            # Threads that make batches may ask for memory meanwhile.
            with torch.cuda.graph(graph, capture_error_mode='thread_local'):
                results = self.step(batch)
        except RuntimeError as error:
            generator.graphsafe_set_state(numbers)  # a recording that failed leaves it unusable
            reason = str(error).partition('\n')[0]
            self._go_on_eagerly(f'recording failed ({reason})')
            return False
        self.graph, self._results, self._tensors = graph, results, batch_tensors(batch)
        return True

    def _write(self, batch: Data) -> bool:
        """Writes what is new on this batch to the tensors of the recording, unless it does not fit them."""
        new = batch_tensors(batch)
        if len(new) != len(self._tensors):
            return False
        pairs = [(old, new) for old, new in zip(self._tensors, new, strict=True) if old is not new]
        if any(old.shape != new.shape or old.dtype != new.dtype for old, new in pairs):
            return False
        for old, new in pairs:
            old.copy_(new)
        return True

    def _go_on_eagerly(self, reason: str) -> None:
        self.waits = True
        logging.info(f'no CUDA graph of the {self.name}, which runs kernel by kernel: {reason}')


def _short(path: str) -> str:
    """The end of a path, from the package on."""
    parts = Path(path).parts
    named = [i for i, part in enumerate(parts) if part in ('site-packages', 'dist-packages')]
    return os.path.join(*parts[named[-1] + 1 if named else -2 :])
