"""Lack of memory: how it shows, what asked for it, and the keys that shrink that."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch_geometric.data import Data
from torch_geometric.graphgym.config import cfg

from graphgps_ext.config.tree import flatten
from graphgps_ext.errors import ShortOfMemoryError, UserError

# What libraries raise as a RuntimeError; the loader's workers are killed for it or die of a full /dev/shm.
_SIGNS = (
    "can't allocate memory",
    'Cannot allocate memory',
    'out of memory',
    'bad_alloc',
    'STATUS_ALLOC_FAILED',
    'unable to mmap',
    "can't start new thread",
    'is killed by signal: Killed',
    'is killed by signal: Bus error',
    'No space left on device (28)',  # of shared memory: that of a disk is an OSError
)


def is_shortage(error: BaseException) -> bool:
    """Whether an error says that there is not enough memory, on the machine or its GPU."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError | OSError) and any(sign in str(error) for sign in _SIGNS)


def shortage(error: BaseException, data: Data | None = None) -> str:
    """The message: the sizes that asked for memory, as far as they are known, and what shrinks them."""
    stock = cfg.model.type in ('gnn', 'pyg') or cfg.model.type.startswith('pyg_')
    width, layers = ('gnn.dim_inner', 'gnn.layers_mp') if stock else ('gt.dim_hidden', 'gt.layers')
    shown = [
        width,
        layers,
        *([] if stock else ['gt.n_heads']),
        'train.sampler',
        'train.precision',
        'accelerator',
    ]
    samplers = {cfg.train.sampler, cfg.val.sampler}
    shrink = [f'a smaller {width} or {layers}']
    if cfg.train.mode == 'spexphormer':
        shown.insert(2, 'spex.layer_degrees')
        shrink.append('smaller spex.layer_degrees')
        if 'full_batch' in samplers:
            shrink.append(
                'train.sampler and val.sampler spex_neighbor, which take train.batch_size nodes at a time'
            )
    elif cfg.prep.exp and not stock:
        shown.insert(2, 'prep.exp_deg')
        shrink.append('a smaller prep.exp_deg')
    if samplers != {'full_batch'}:
        shown += ['train.batch_size', 'num_workers']
        shrink.append('a smaller train.batch_size')
    if cfg.num_workers:
        shrink.append('fewer num_workers')
    if cfg.train.precision in ('32-true', '64-true'):
        shrink.append('train.precision bf16-mixed')
    if isinstance(error, torch.OutOfMemoryError) or 'CUDA' in str(error):
        shrink.append('accelerator cpu')
    values = dict(flatten(cfg))
    sizes = [f'{key} {values[key]}' for key in shown]
    if data is not None:
        sizes[:0] = [f'{data.num_nodes:,} nodes', f'{data.layers[0].num_edges:,} attention edges']
    first = (str(error).strip() or type(error).__name__).splitlines()[0][:300]
    return (
        f'not enough memory: {first}\nIt was asked for by {", ".join(sizes)}.\n'
        f'Less is needed with {"; ".join(shrink)}.'
    )


@contextmanager
def shortage_explained(data: Data | None = None) -> Iterator[None]:
    """Turns lack of memory within into a :class:`ShortOfMemoryError` that tells sizes and keys.

    Args:
        data: of :func:`graphgps_ext.loader.load_graph`.
    """
    try:
        yield
    except Exception as error:
        if isinstance(error, UserError) or not is_shortage(error):
            raise
        raise ShortOfMemoryError(shortage(error, data)) from error
