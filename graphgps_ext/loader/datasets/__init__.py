"""The data sets, as plain functions with keyword arguments that return one PyG graph; no GraphGym in here.

| `dataset.format` | `dataset.name` | read from `<dataset.dir>/...` | fixed splits | downloaded |
|---|---|---|---|---|
| `PyG-Actor` | any | `Actor/raw` | 10 | yes |
| `PyG-Amazon` | photo, computers | `Amazon/<Name>/raw` | – | yes |
| `PyG-Coauthor` | cs, physics | `Coauthor/<Name>/raw` | – | yes |
| `PyG-HeterophilousGraphDataset` | roman-empire, amazon-ratings, minesweeper, tolokers, questions | \
`HeterophilousGraphDataset/<name with _>/raw` | 10 | yes |
| `PyG-LINKXDataset` | penn94, reed98, amherst41, cornell5, johnshopkins55, genius | \
`LINKXDataset/<name>/raw` | penn94: 5 | yes |
| `PyG-Planetoid` | cora, citeseer, pubmed | `Planetoid/<Name>/raw` (public), \
`Planetoid/<Name>/geom-gcn/raw` | 1, 10 | yes |
| `PyG-WikiCS` | any | `WikiCS/raw` | 20 (one test mask) | yes |
| `OGB` | ogbn-arxiv, ogbn-proteins, ogbn-products | `OGB/<name with _>/{raw,split}` | 1 | yes |
| `Pokec` | any | `Pokec/raw` | 5 | no |
| `grid` | minesweeper | generated | – | – |
| `file` | any | `dataset.path`, one .npz or .pt file (see :func:`load_file`) | as in the file | – |
"""

from __future__ import annotations

from pathlib import Path

from graphgps_ext.loader.datasets.check import checked, match_name
from graphgps_ext.loader.datasets.file import load_file
from graphgps_ext.loader.datasets.grid import minesweeper_grid
from graphgps_ext.loader.datasets.ogb import load_ogb
from graphgps_ext.loader.datasets.pokec import load_pokec
from graphgps_ext.loader.datasets.pyg import PYG_NAMES, load_pyg
from graphgps_ext.loader.datasets.source import Source

__all__ = [
    'FORMATS',
    'Source',
    'load_data',
    'load_file',
    'load_ogb',
    'load_pokec',
    'load_pyg',
    'minesweeper_grid',
]

FORMATS = (*(f'PyG-{class_name}' for class_name in PYG_NAMES), 'OGB', 'Pokec', 'grid', 'file')


def load_data(
    format: str,
    name: str,
    root: str | Path,
    *,
    planetoid_split: str = 'public',
    path: str | Path = '',
    grid_side: int = 100,
    grid_seed: int = 0,
    multilabel: bool = False,
) -> Source | None:
    """One graph in one form, whatever its source; None for a format that is not in `FORMATS`.

    Args:
        format: `dataset.format`.
        name: `dataset.name`, in any case.
        root: `dataset.dir`.
        planetoid_split: `dataset.planetoid_split`, read for `PyG-Planetoid`.
        path: `dataset.path`, read for `file`.
        grid_side: `dataset.grid_side`, read for `grid`.
        grid_seed: `dataset.grid_seed`, read for `grid`.
        multilabel: whether `dataset.task_type` says so, read for `file`.

    Returns:
        The files that it was read from and the graph: x [N, F] float32; y [N] int64 with classes from 0 and
        -1 = no label, or [N, tasks] float32 with NaN = no label; edge_index [2, E] int64 as in the source,
        directed or not, self-loops and duplicates included; train_mask, val_mask, test_mask [N] or [N, S]
        bool where there are fixed splits; edge_attr [E, D] float32 where the source has it.

    Raises:
        ValueError: for an unknown name, or a source that cannot be read or holds what the above excludes.
        FileNotFoundError: if files are missing and cannot be downloaded.
    """
    if format not in FORMATS:
        return None
    if format == 'OGB':
        source = load_ogb(name, root)
    elif format == 'Pokec':
        source = load_pokec(root)
    elif format == 'grid':
        match_name(name, ('minesweeper',), 'grid')
        source = Source(minesweeper_grid(grid_side, grid_seed))
    elif format == 'file':
        return Source(load_file(path, multilabel=multilabel), (Path(path).expanduser(),))
    else:
        class_name = format.removeprefix('PyG-')
        source = load_pyg(class_name, name, root, planetoid_split=planetoid_split)
    return Source(checked(source.data, f'{format} {name}'), source.files)
