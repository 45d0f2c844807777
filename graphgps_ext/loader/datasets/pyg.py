"""Data sets of torch_geometric.datasets, read from their raw files in PyG's own layout.

PyG reads and parses, except what it would unpickle (see unpickle.py); what differs is what stays on the
disk. PyG keeps a `processed/data.pt` that it writes in place, so a process killed at the wrong moment, or two
of them at once, leave a torn file on which every later run fails. Parsing takes seconds, so nothing processed
is kept: the raw files are the only state, and a downloaded one appears under its name once all of them were
read successfully.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
from torch_geometric import datasets
from torch_geometric.data import Data, InMemoryDataset, download_url
from torch_geometric.io.npz import parse_npz

from graphgps_ext.errors import ConfigError, DataError
from graphgps_ext.loader.datasets.check import match_name
from graphgps_ext.loader.datasets.download import absent_files, missing_data_error, publish, staging_folder
from graphgps_ext.loader.datasets.planetoid import read_planetoid
from graphgps_ext.loader.datasets.source import Source
from graphgps_ext.loader.datasets.unpickle import checked_csr, read_object_array, split_masks

# Names of each class, Planetoid's as PyG spells its folders; none: the class is one data set.
PYG_NAMES: dict[str, tuple[str, ...]] = {
    'Actor': (),
    'Amazon': ('photo', 'computers'),
    'Coauthor': ('cs', 'physics'),
    'HeterophilousGraphDataset': ('roman-empire', 'amazon-ratings', 'minesweeper', 'tolokers', 'questions'),
    'LINKXDataset': ('penn94', 'reed98', 'amherst41', 'cornell5', 'johnshopkins55', 'genius'),
    'Planetoid': ('Cora', 'CiteSeer', 'PubMed'),
    'WikiCS': (),
}
PLANETOID_SPLITS = ('public', 'geom-gcn')


def load_pyg(class_name: str, name: str, root: str | Path, *, planetoid_split: str = 'public') -> Source:
    """Reads one data set from `<root>/<class_name>/...`, after downloading it if it is not there.

    Args:
        class_name: a key of `PYG_NAMES`.
        name: one of its names in any case, `_` as good as `-`; Actor and WikiCS take none and ignore it.
        root: `dataset.dir`.
        planetoid_split: 'public' (one split), or 'geom-gcn' (ten, in a folder of their own); Planetoid only.

    Returns:
        The graph as PyG reads it: x, edge_index (undirected where PyG's class makes it so), y, and where the
        data set has fixed splits train_mask, val_mask, test_mask [N] or [N, S] bool (WikiCS: also
        stopping_mask).

    Raises:
        ValueError: for an unknown name, or raw files that cannot be read.
        FileNotFoundError: if files are missing and cannot be downloaded.
    """
    options: dict[str, Any] = {}
    if PYG_NAMES[class_name]:
        options['name'] = match_name(name, PYG_NAMES[class_name], f'PyG-{class_name}')
    if class_name == 'Planetoid':
        if planetoid_split not in PLANETOID_SPLITS:
            raise ConfigError(
                f'dataset.planetoid_split must be one of {PLANETOID_SPLITS}, got {planetoid_split!r}'
            )
        options['split'] = planetoid_split
    if class_name == 'WikiCS':
        options['is_undirected'] = False  # as in the source
    mixins = {
        'Planetoid': _PlanetoidRawFiles,
        'LINKXDataset': _LinkxRawFiles,
        'Amazon': _NpzRawFile,
        'Coauthor': _NpzRawFile,
    }
    dataset_class = type(class_name, (mixins.get(class_name, _RawFiles), getattr(datasets, class_name)), {})
    dataset = dataset_class(root=str(Path(root).expanduser() / class_name), **options)
    return Source(dataset.graph, dataset.files)


class _RawFiles(InMemoryDataset):
    """Goes before a PyG data set class: reads into `graph`, keeps nothing on disk but whole raw files."""

    graph: Data
    files: tuple[Path, ...]
    staged: Path | None = None

    @property
    def raw_dir(self) -> str:
        return super().raw_dir if self.staged is None else str(self.staged)

    def _download(self) -> None:
        """Called by PyG's constructor before `_process`, which does it all."""

    def _process(self) -> None:
        folder = Path(self.raw_dir)
        wanted = [Path(path).name for path in self.raw_paths]
        self.files = tuple(folder / name for name in wanted)
        absent = absent_files(folder, wanted)
        if not absent:
            self._read(folder)
            return
        with staging_folder() as self.staged:
            try:
                self.download()
            except Exception as error:
                what = '/'.join(folder.parts[len(Path(self.root).parts) - 1 : -1])
                raise missing_data_error(what, folder, absent, f'Downloading failed ({error})') from error
            for name in {*wanted} - {*absent}:  # these stay, so the graph has to be that of these
                shutil.copyfile(folder / name, self.staged / name)
            self._read(folder)
            publish([self.staged / name for name in wanted], folder)

    def _read(self, folder: Path) -> None:
        try:
            self.process()
        except Exception as error:  # a lack of memory, too: a damaged size asks for any amount
            raise DataError(
                f'cannot read the raw files in {folder} ({type(error).__name__}: {error}); they are '
                f'incomplete or of another data set: remove them to have them downloaded again, or correct '
                f'dataset.dir'
            ) from error

    def save(self, data_list: list[Data], path: str) -> None:  # type: ignore[override]
        """PyG's `process` ends with this."""
        self.graph = data_list[0]

    def load(self, path: str, data_cls: type = Data) -> None:
        """PyG's constructor ends with this."""


class _NpzRawFile(_RawFiles):
    """For Amazon and Coauthor, whose sparse matrices have to be checked before scipy makes them dense."""

    def process(self) -> None:
        with np.load(self.raw_paths[0], allow_pickle=False) as file:
            arrays = dict(file)
        for name in ('attr', 'adj'):
            checked_csr(*(arrays[f'{name}_{part}'] for part in ('data', 'indices', 'indptr', 'shape')))
        self.graph = parse_npz(arrays, to_undirected=True)


class _LinkxRawFiles(_RawFiles):
    """For LINKXDataset, which unpickles the splits that it has of Penn94."""

    splits: dict[str, str]

    def process(self) -> None:
        from scipy.io import loadmat  # slow to import

        mat, *split_files = map(Path, self.raw_paths)
        if 'A' in (arrays := loadmat(mat, variable_names=('A',))):
            arrays['A'].check_format(full_check=True)
        self.splits = {}  # none that PyG would read
        super().process()
        for file in split_files:
            self.graph.update(split_masks(read_object_array(file), int(self.graph.num_nodes or 0)))


class _PlanetoidRawFiles(_RawFiles):
    """For Planetoid: PyG unpickles its files, and its own list of them lacks the ten splits of Geom-GCN."""

    name: str
    split: str
    url: str
    geom_gcn_url: str

    @property
    def own_splits(self) -> list[str]:
        splits = range(10 if self.split == 'geom-gcn' else 0)
        return [f'{self.name.lower()}_split_0.6_0.2_{i}.npz' for i in splits]

    @property
    def raw_file_names(self) -> list[str]:
        return [*super().raw_file_names, *self.own_splits]

    def process(self) -> None:
        self.graph = read_planetoid(Path(self.raw_dir), self.name.lower(), self.own_splits)

    def download(self) -> None:
        # PyG's own goes through fsspec, on which the socket timeout has no effect.
        for name in self.raw_file_names:
            place = f'{self.geom_gcn_url}/splits' if name.endswith('.npz') else self.url
            download_url(f'{place}/{name}', self.raw_dir)
