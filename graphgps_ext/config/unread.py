"""Which keys that a user has asked for a run does not read: recorded while it runs, not listed by hand.

GraphGym's config has some hundred keys of tasks, models and loaders that this package does not have, and of
ours each model reads its own; a key that is set but not read would change nothing without a word.
"""

from __future__ import annotations

import inspect
import logging
import sys
from collections.abc import Iterator, Set
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import CodeType
from typing import Any

from torch import nn
from torch_geometric.graphgym import register
from torch_geometric.graphgym.models.layer import (
    BatchNorm1dEdge,
    BatchNorm1dNode,
    GeneralLayer,
    new_layer_config,
)
from yacs.config import CfgNode

from graphgps_ext.config.check import limits_of

# What GraphGym's `new_layer_config` reads for every layer and head, and the modules that make use of it.
_NORMS = (GeneralLayer, BatchNorm1dNode, BatchNorm1dEdge)
USED_BY: dict[str, tuple[type[nn.Module], ...]] = {
    'bn.eps': _NORMS,
    'bn.mom': _NORMS,
    **dict.fromkeys(
        ('gnn.act', 'gnn.batchnorm', 'gnn.dropout', 'gnn.l2norm', 'mem.inplace'), (GeneralLayer,)
    ),
    'gnn.keep_edge': (),
}
# Keys that the check holds to what is done anyway, or that are read only where there is a need for it.
HEEDED = {
    'dataset.task',
    'model.loss_fun',
    'model.size_average',
    'train.enable_ckpt',
    'train.overwrite',
    'train.sampler',
    'val.sampler',
}
# Read only when the first epochs are over.
READ_LATER = {'spex.temperature_min'}


@dataclass
class Reads:
    """What a run has read so far.

    Args:
        asked: the keys that the user has asked for.

    Attributes:
        read: keys that were read.
        for_layers: those that were read for `new_layer_config` alone, which asks for all it may need.
        lost: keys that the run has set itself before anything had read them.
        told: whether the line has been written.
    """

    asked: Set[str]
    read: set[str] = field(default_factory=set)
    for_layers: set[str] = field(default_factory=set)
    lost: set[str] = field(default_factory=set)
    told: bool = False


class _Watched(CfgNode):
    """A config, or a group of it, that notes which of its keys are read. To list all is not to read them."""

    def __getattr__(self, name: str) -> Any:
        if name in self:
            self._note(name, sys._getframe(1).f_code)
        return super().__getattr__(name)

    def __getitem__(self, name: str) -> Any:
        self._note(name, sys._getframe(1).f_code)
        return super().__getitem__(name)

    def __setitem__(self, name: str, value: Any) -> None:
        reads, prefix = self.__dict__.get('reads'), self.__dict__.get('prefix')
        if reads is not None and f'{prefix}{name}' not in reads.read:
            reads.lost.add(f'{prefix}{name}')
        super().__setitem__(name, value)

    def _note(self, name: str, reader: CodeType) -> None:
        reads, prefix = self.__dict__.get('reads'), self.__dict__.get('prefix')
        if reads is None or reader is CfgNode.__getattr__.__code__:  # noted above
            return
        noted = reads.for_layers if reader is new_layer_config.__code__ else reads.read
        noted.add(f'{prefix}{name}')


def _watch(node: CfgNode, reads: Reads, prefix: str = '') -> None:
    for name, value in node.items():
        if isinstance(value, CfgNode):
            _watch(value, reads, f'{prefix}{name}.')
    # Of the object itself: every module has imported it.
    object.__setattr__(node, '__class__', _Watched)
    node.__dict__.update(reads=reads, prefix=prefix)


def _unwatch(node: CfgNode) -> None:
    for value in node.values():
        if isinstance(value, CfgNode):
            _unwatch(value)
    if isinstance(node, _Watched):
        object.__setattr__(node, '__class__', CfgNode)
        for name in ('reads', 'prefix'):
            node.__dict__.pop(name, None)


@contextmanager
def watching(cfg: CfgNode, asked: Set[str]) -> Iterator[Reads]:
    """Notes what is read of a config until the end of the context.

    Args:
        cfg: loaded and checked.
        asked: the keys that the user has asked for, of `load_config`.
    """
    reads = Reads(asked)
    _watch(cfg, reads)
    try:
        yield reads
    finally:
        _unwatch(cfg)


def unread(cfg: CfgNode, reads: Reads, model: nn.Module) -> list[str]:
    """The keys that were asked for and that nothing has read, in their order.

    Args:
        cfg: the config.
        reads: of it, from the loading of the data to the end of an epoch.
        model: what was built of it.
    """
    used = {
        key
        for key in reads.for_layers
        if key not in USED_BY or any(isinstance(module, USED_BY[key]) for module in model.modules())
    }
    for registry, name in (
        (register.optimizer_dict, cfg.optim.optimizer),
        (register.scheduler_dict, cfg.optim.scheduler),
    ):
        used |= {f'optim.{argument}' for argument in inspect.signature(registry[name]).parameters}
    read = (reads.read | used | HEEDED) - reads.lost
    of_others = {key for key in reads.asked if not limits_of(key).is_read(cfg)}
    return sorted((reads.asked - read - READ_LATER) | of_others)


def tell_unread(cfg: CfgNode, model: nn.Module) -> None:
    """Logs one line with the keys that were asked for and not read, once for a watched config."""
    reads = cfg.__dict__.get('reads')
    if reads is None or reads.told:
        return
    reads.told = True
    _unwatch(cfg)  # to read it costs what it costs
    if keys := unread(cfg, reads, model):
        logging.info(f'set, but not read by this run: {", ".join(keys)}')
