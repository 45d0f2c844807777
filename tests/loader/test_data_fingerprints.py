"""Fingerprints of a data set: of what, remembered how long, and with and without reading it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch_geometric.data import Data
from torch_geometric.graphgym.config import cfg
from yacs.config import CfgNode

from graphgps_ext import fingerprints
from graphgps_ext.loader import data_fingerprints, graph, load_graph


@pytest.fixture
def arrays() -> dict[str, Any]:
    """A graph of six nodes with all that a file may hold."""
    part = np.arange(6) % 3
    masks = {f'{name}_mask': part == number for number, name in enumerate(('train', 'val', 'test'))}
    edges = np.array([[0, 1, 4], [1, 2, 3]])
    return {
        'edge_index': edges,
        'x': np.arange(12.0).reshape(6, 2),
        'y': np.arange(6) // 3,
        'edge_attr': np.ones((3, 1)),
        **masks,
    }


@pytest.fixture
def file(
    graphgym_cfg: CfgNode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arrays: dict[str, Any]
) -> Path:
    """The graph in a file that has lain there for a while, in the config; memory of its own."""
    monkeypatch.setenv('GRAPHGPS_EXT_CACHE', str(tmp_path / 'cache'))
    monkeypatch.setattr(fingerprints, '_SETTLED_SECONDS', -60.0)
    path = tmp_path / 'mine.npz'
    np.savez(path, **arrays)
    graphgym_cfg.dataset.format, graphgym_cfg.dataset.path = 'file', str(path)
    graphgym_cfg.prep.exp_deg = 1
    return path


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """One entry for each time that a data set was read."""
    entries: list[Any] = []
    load_data = graph.load_data

    def counted(*args: Any, **options: Any) -> Any:
        entries.append(args)
        return load_data(*args, **options)

    monkeypatch.setattr(graph, 'load_data', counted)
    return entries


def loaded(cfg: CfgNode) -> Data:
    data = load_graph(cfg.dataset.format, cfg.dataset.name, cfg.dataset.dir)
    assert data is not None
    return data


CHANGES: dict[str, Callable[[dict[str, Any]], Any]] = {
    'features': lambda arrays: {'x': arrays['x'] + np.eye(6, 2)},
    'edges': lambda arrays: {'edge_index': arrays['edge_index'][:, ::-1]},
    'labels': lambda arrays: {'y': 1 - arrays['y']},
    'edge_features': lambda arrays: {'edge_attr': 2 * arrays['edge_attr']},
    'masks': lambda arrays: {'val_mask': arrays['test_mask'], 'test_mask': arrays['val_mask']},
}


@pytest.mark.parametrize('part', CHANGES)
def test_each_part_of_the_data_has_its_own(file: Path, arrays: dict[str, Any], part: str) -> None:
    before = data_fingerprints(cfg)
    assert before.keys() == CHANGES.keys()
    np.savez(file, **{**arrays, **CHANGES[part](arrays)})
    after = data_fingerprints(cfg)
    assert [name for name in before if after[name] != before[name]] == [part]


def test_they_are_of_the_source_and_not_of_what_the_config_makes_of_it(
    file: Path, graphgym_cfg: CfgNode
) -> None:
    before = data_fingerprints(cfg)
    graphgym_cfg.dataset.normalize_features, graphgym_cfg.prep.num_virt_node = 'row', 1
    graphgym_cfg.posenc_RWSE.enable = True
    assert loaded(graphgym_cfg).fingerprints == data_fingerprints(cfg) == before


def test_a_graph_is_read_once_and_then_remembered(
    file: Path, graphgym_cfg: CfgNode, loads: list[Any]
) -> None:
    data = loaded(graphgym_cfg)
    assert data.fingerprints == data_fingerprints(cfg) == data.to('meta').fingerprints
    assert len(loads) == 1
    graphgym_cfg.dataset.hash_again = True
    assert data_fingerprints(cfg) == data.fingerprints
    assert len(loads) == 2


def test_what_is_remembered_is_not_hashed_again(
    file: Path, graphgym_cfg: CfgNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = data_fingerprints(cfg)
    monkeypatch.setattr(graph, '_fingerprints', lambda data: pytest.fail('hashed again'))
    assert loaded(graphgym_cfg).fingerprints == before


def test_a_file_that_changes_while_it_is_read_is_not_remembered(
    file: Path, graphgym_cfg: CfgNode, arrays: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fingerprints, '_SETTLED_SECONDS', 0.0)
    load_data = graph.load_data

    def overtaken(*args: Any, **options: Any) -> Any:
        source = load_data(*args, **options)
        np.savez(file, **{**arrays, 'y': 1 - arrays['y']})
        return source

    with monkeypatch.context() as patch:
        patch.setattr(graph, 'load_data', overtaken)
        old = loaded(graphgym_cfg).fingerprints
        assert not list(file.parent.rglob('*.json'))
    assert data_fingerprints(cfg)['labels'] != old['labels']


def test_a_file_that_others_have_hashed_meanwhile_is_not_taken_for_the_one_that_was_read(
    file: Path, graphgym_cfg: CfgNode, arrays: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = data_fingerprints(cfg)
    load_data = graph.load_data

    def overtaken(*args: Any, **options: Any) -> Any:
        source = load_data(*args, **options)
        with monkeypatch.context() as patch:
            patch.setattr(graph, 'load_data', load_data)
            np.savez(file, **{**arrays, 'y': 1 - arrays['y']})
            assert data_fingerprints(cfg)['labels'] != before['labels']  # and it is remembered
        monkeypatch.setattr(fingerprints, '_SETTLED_SECONDS', 0.0)
        return source

    monkeypatch.setattr(graph, 'load_data', overtaken)
    assert loaded(graphgym_cfg).fingerprints == before


def test_generated_graphs_are_hashed_each_time(
    graphgym_cfg: CfgNode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv('GRAPHGPS_EXT_CACHE', str(tmp_path))
    graphgym_cfg.dataset.format, graphgym_cfg.dataset.name = 'grid', 'minesweeper'
    graphgym_cfg.dataset.grid_side = 10
    first = data_fingerprints(cfg)
    graphgym_cfg.dataset.grid_seed = 1
    second = data_fingerprints(cfg)
    assert first.keys() == second.keys() == {'features', 'edges', 'labels'}
    assert first['edges'] == second['edges'] and first['labels'] != second['labels']
    assert not list(tmp_path.iterdir())


def test_real_graphs_have_the_fingerprints_of_all_their_files(
    graphgym_cfg: CfgNode, real_datasets: Path
) -> None:
    graphgym_cfg.dataset.format, graphgym_cfg.dataset.name = 'PyG-Planetoid', 'cora'
    graphgym_cfg.dataset.dir = str(real_datasets)
    public = data_fingerprints(cfg)
    graphgym_cfg.dataset.planetoid_split = 'geom-gcn'
    geom_gcn = data_fingerprints(cfg)
    assert {name for name in public if public[name] != geom_gcn[name]} == {'masks'}
    source = graph.load_data('PyG-Planetoid', 'cora', real_datasets, planetoid_split='geom-gcn')
    assert source is not None
    folder = real_datasets / 'Planetoid' / 'Cora' / 'geom-gcn' / 'raw'
    assert sorted(source.files) == sorted(folder.iterdir())


def test_formats_of_others_have_none(graphgym_cfg: CfgNode) -> None:
    graphgym_cfg.dataset.format = 'PyG'
    assert data_fingerprints(cfg) == {}
