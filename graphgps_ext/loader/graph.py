"""From the config to one graph: data set, split, attention graph; and to the fingerprints of its data."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from pathlib import Path

import torch
import torch_geometric
from torch import Tensor
from torch_geometric.data import Data, InMemoryDataset
from torch_geometric.graphgym.config import cfg
from torch_geometric.graphgym.register import register_loader
from yacs.config import CfgNode

from graphgps_ext.errors import ConfigError
from graphgps_ext.files import cache_folder
from graphgps_ext.fingerprints import fingerprint, remembered
from graphgps_ext.graph import PerLayer, graph_edges
from graphgps_ext.loader.datasets import Source, load_data
from graphgps_ext.loader.datasets.check import MASKS
from graphgps_ext.loader.graph_store import kept
from graphgps_ext.ops import with_transpose
from graphgps_ext.transform.attention_graph import AttentionGraph, attention_graph
from graphgps_ext.transform.features import normalize_features, positional_encodings
from graphgps_ext.transform.split import (
    Split,
    class_balanced_split,
    fixed_split,
    labeled_nodes,
    random_split,
)

# To be raised with every change of a reader: what is remembered of the files is of what the older one read.
READER_VERSION = 1
# To be raised with every change of attention graphs: those kept are of the builder before.
BUILDER_VERSION = 1


class SingleGraph(InMemoryDataset):
    """One graph as the data set that GraphGym's own loaders expect."""

    def __init__(self, data: Data) -> None:
        super().__init__()
        self.data, self.slices = self.collate([data])


@register_loader('spex_loader')
def load_dataset(format: str, name: str, dataset_dir: str) -> SingleGraph | None:
    """The data set of the config, for GraphGym's stock main; None for formats that are not ours."""
    data = load_graph(format, name, dataset_dir)
    return None if data is None else SingleGraph(data)


def load_graph(format: str, name: str, dataset_dir: str) -> Data | None:
    """The data set of the config with its split and its attention graph; None for formats that are not ours.

    Returns:
        `x` [N, F] (normalised, with positional encodings, where the config asks for them), `y` [N] or
        [N, tasks], `edge_index` [2, E] as in the source, `train_mask`, `val_mask`, `test_mask` [N] bool, the
        attention graph as that of each layer (`layers`, and `attention_edge_attr` with edge features: see
        transform/batch.py) and, with virtual nodes, `virtual_node` [N] int64: 0 for real nodes, else 1..V.
        With a local branch on all edges of the graph, `local_edge_index` [2, E'] int64: the attention graph's
        edges of type `GRAPH`. `fingerprints` is what :func:`data_fingerprints` says of the same data.

    Raises:
        ValueError: if the config asks for a split or for edge features that the data set does not have.
    """
    began = time.time()
    source = _load(cfg, format, name, dataset_dir)
    if source is None:
        return None
    data = source.data
    data.fingerprints = _remembered(cfg, format, name, dataset_dir, lambda: source, since=began)
    if cfg.prep.edge_attr and 'edge_attr' not in data:
        raise ConfigError(f'{format} {name} has no edge features (set prep.edge_attr False)')
    data.x = make_features(data)
    split = choose_split(data)
    data.train_mask, data.val_mask, data.test_mask = split.train, split.val, split.test
    made = _attention_graph(data)
    # A network for message passing may have no such layer; its data are made from the graph all the same.
    num_layers = max(1, cfg.gnn.layers_mp if cfg.model.type == 'gnn' else cfg.gt.layers)
    graph = made.neighbors
    data.layers = PerLayer([graph] * num_layers)
    if made.edge_attr is not None:
        data.attention_edge_attr = PerLayer([made.edge_attr] * num_layers)
    if cfg.gt.local_gnn_type != 'none' and cfg.gt.local_edges == 'graph':
        data.local_edge_index = graph_edges(graph)
    return add_virtual_nodes(data, cfg.prep.num_virt_node) if cfg.prep.num_virt_node else data


def _attention_graph(data: Data) -> AttentionGraph:
    """The attention graph of the config, with its transpose; that of a large graph is kept on the disk."""
    settings = {
        'undirected': cfg.prep.undirected,
        'expander': cfg.prep.exp,
        'expander_degree': cfg.prep.exp_deg,
        'expander_algorithm': cfg.prep.exp_algorithm,
        'expander_seed': cfg.prep.exp_seed,
        'self_loops': cfg.prep.add_self_loops,
        'num_virtual_nodes': cfg.prep.num_virt_node,
    }

    def build() -> AttentionGraph:
        edge_attr = data.edge_attr if cfg.prep.edge_attr else None
        made = attention_graph(data.edge_index, data.num_nodes, edge_attr=edge_attr, **settings)
        neighbors = with_transpose(made.neighbors, with_edge_id=made.edge_attr is not None)
        return AttentionGraph(neighbors, made.edge_attr)

    made_from = {
        'edges': data.fingerprints['edges'],
        'edge_features': data.fingerprints['edge_features'] if cfg.prep.edge_attr else None,
        'num_nodes': data.num_nodes,
        'builder': BUILDER_VERSION,
        'torch': torch.__version__,  # whose random numbers the expander is drawn with
        **settings,
    }
    return kept(
        made_from,
        build,
        name=f'{cfg.dataset.format} {cfg.dataset.path or cfg.dataset.name}',
        num_edges=data.num_edges + 2 * cfg.prep.exp_deg * cfg.prep.exp * data.num_nodes,
        folder=Path(cfg.prep.cache_dir) if cfg.prep.cache_dir else cache_folder() / 'graphs',
        most_bytes=1e9 * cfg.prep.cache_gb,
    )


def data_fingerprints(cfg: CfgNode) -> dict[str, str]:
    """Fingerprints of the data set of a config, as it is before a split is drawn or a feature normalised.

    Files that have not changed since they were last hashed are not read (see
    :func:`graphgps_ext.fingerprints.remembered`), unless `dataset.hash_again` is set.

    Returns:
        One for each of 'features', 'edges', 'labels' and, where the source has them, 'edge_features' and
        'masks' (all its fixed splits); none for formats that are not ours.

    Raises:
        ValueError: if the source cannot be read.
        FileNotFoundError: if files are missing and cannot be downloaded.
    """
    asked_for = cfg.dataset.format, cfg.dataset.name, cfg.dataset.dir
    return _remembered(cfg, *asked_for, lambda: _load(cfg, *asked_for))


def _load(cfg: CfgNode, format: str, name: str, dataset_dir: str) -> Source | None:
    return load_data(
        format,
        name,
        dataset_dir,
        planetoid_split=cfg.dataset.planetoid_split,
        path=cfg.dataset.path,
        grid_side=cfg.dataset.grid_side,
        grid_seed=cfg.dataset.grid_seed,
        multilabel=cfg.dataset.task_type == 'classification_multilabel',
    )


def _remembered(
    cfg: CfgNode,
    format: str,
    name: str,
    dataset_dir: str,
    load: Callable[[], Source | None],
    *,
    since: float | None = None,
) -> dict[str, str]:
    """The fingerprints of what `load` gives, which is called if they are not remembered."""

    def compute() -> tuple[Iterable[Path], dict[str, str]]:
        source = load()
        return ((), {}) if source is None else (source.files, _fingerprints(source.data))

    place = Path(cfg.dataset.path if format == 'file' else dataset_dir).expanduser().absolute()
    versions = f'reader {READER_VERSION}, torch_geometric {torch_geometric.__version__}'
    key = f'{format} {name} of {place}, planetoid_split {cfg.dataset.planetoid_split}; {versions}'
    return remembered(key, compute, again=cfg.dataset.hash_again, since=since)


def _fingerprints(data: Data) -> dict[str, str]:
    parts = {'features': [data.x], 'edges': [data.edge_index], 'labels': [data.y]}
    if 'edge_attr' in data:
        parts['edge_features'] = [data.edge_attr]
    if masks := [data[key] for key in MASKS if key in data]:
        parts['masks'] = masks
    return {name: fingerprint(*tensors) for name, tensors in parts.items()}


def make_features(data: Data) -> Tensor:
    """`data.x` [N, F], normalised and with positional encodings, where the config asks for them."""
    x = normalize_features(data.x, cfg.dataset.normalize_features)
    encodings = positional_encodings(
        data.edge_index,
        data.num_nodes,
        eigenvectors=cfg.posenc_LapPE.eigen.max_freqs if cfg.posenc_LapPE.enable else 0,
        walk_length=cfg.posenc_RWSE.walk_length if cfg.posenc_RWSE.enable else 0,
    )
    return torch.cat([x, encodings.to(x)], dim=1) if encodings.shape[1] else x


def choose_split(data: Data) -> Split:
    """The split that `dataset.split_mode` asks for.

    Raises:
        ValueError: if the data set brings no split of its own but one is asked for.
    """
    mode = cfg.dataset.split_mode
    if mode == 'random':
        return random_split(
            data.num_nodes, cfg.dataset.split, cfg.dataset.split_seed, candidates=labeled_nodes(data.y)
        )
    if mode == 'class-balanced':
        return class_balanced_split(data.y, cfg.dataset.split[0], cfg.dataset.split_seed)
    if 'train_mask' not in data:
        raise ConfigError(
            f'{cfg.dataset.name} has no split of its own (set dataset.split_mode to random or class-balanced)'
        )
    return fixed_split(
        data.train_mask,
        data.val_mask,
        data.test_mask,
        cfg.dataset.split_index,
        labeled=labeled_nodes(data.y),
    )


def add_virtual_nodes(data: Data, count: int) -> Data:
    """Appends rows for virtual nodes: no features, no label, in no part of the split."""
    num_nodes = data.num_nodes
    data = data.__copy__()
    for key in ('x', 'y', 'train_mask', 'val_mask', 'test_mask'):
        value = data[key]
        data[key] = torch.cat([value, value.new_zeros(count, *value.shape[1:])])
    data.virtual_node = torch.cat([torch.zeros(num_nodes, dtype=torch.long), torch.arange(1, count + 1)])
    data.num_nodes = num_nodes + count
    return data
