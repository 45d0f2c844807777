"""Which splits a config can be run on."""

from __future__ import annotations

from yacs.config import CfgNode

from graphgps_ext.errors import ConfigError
from graphgps_ext.loader.datasets import load_file

FIXED_SPLITS = {
    'PyG-Actor': 10,
    'PyG-HeterophilousGraphDataset': 10,
    'PyG-WikiCS': 20,
    'OGB': 1,
    'Pokec': 5,
}


def number_of_splits(cfg: CfgNode) -> int | None:
    """How many fixed splits the data set of a config brings; None if it brings none."""
    name = cfg.dataset.name.lower()
    if cfg.dataset.format == 'PyG-Planetoid':
        return 10 if cfg.dataset.planetoid_split == 'geom-gcn' else 1
    if cfg.dataset.format == 'PyG-LINKXDataset':
        return 5 if name == 'penn94' else None
    if cfg.dataset.format == 'file':
        data = load_file(cfg.dataset.path)
        if 'train_mask' not in data:
            return None
        return 1 if data.train_mask.dim() == 1 else data.train_mask.shape[1]
    return FIXED_SPLITS.get(cfg.dataset.format)


def own_split(cfg: CfgNode) -> int:
    """The split that a config names: an index, or the seed of a random one."""
    return cfg.dataset.split_index if cfg.dataset.split_mode == 'standard' else cfg.dataset.split_seed


def splits_of(cfg: CfgNode, text: str) -> list[int]:
    """The splits of a config that `--splits` asks for.

    Args:
        cfg: the resolved config.
        text: 'all' for every fixed split, or numbers with commas; '': `run_multiple_splits` of the config, or
            its own split.

    Raises:
        ConfigError: if there are no such splits.
    """
    if not text:
        return list(cfg.run_multiple_splits) or [own_split(cfg)]
    name, fixed = cfg.dataset.name, cfg.dataset.split_mode == 'standard'
    count = number_of_splits(cfg) if fixed else None
    if text == 'all':
        if count is None:
            raise ConfigError(
                f'--splits all needs fixed splits, but {name} has {cfg.dataset.split_mode} ones: name '
                f'some seeds, such as --splits 0,1,2,3,4'
            )
        return list(range(count))
    parts = text.split(',')
    if not all(part.strip().isdecimal() for part in parts):
        raise ConfigError(f'--splits needs all, or numbers with commas such as 0,1,2, got {text!r}')
    numbers = [int(part) for part in parts]
    if len({*numbers}) < len(numbers):
        raise ConfigError(f'--splits needs different numbers, got {text!r}')
    if count is not None and max(numbers) >= count:
        raise ConfigError(f'--splits needs numbers below {count} for {name}, got {text!r}')
    return numbers
