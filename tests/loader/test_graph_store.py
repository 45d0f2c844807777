"""Attention graphs that are kept: what is found is what was built, and damage is built anew."""

from __future__ import annotations

import errno
import json
import os
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from yacs.config import CfgNode

from graphgps_ext.commands import cache
from graphgps_ext.loader import graph, graph_store
from graphgps_ext.loader.graph_store import MANIFEST, graphs, kept
from graphgps_ext.ops import with_transpose
from graphgps_ext.transform.attention_graph import AttentionGraph, attention_graph

ARRAYS = (
    'indptr', 'source', 'edge_type', 'out_indptr', 'out_target', 'out_edge_type', 'out_edge_id', 'edge_attr',
)  # fmt: skip
MADE_FROM = {'edges': 'abc', 'expander_seed': 0}


@pytest.fixture(autouse=True)
def every_graph_is_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graph_store, 'SMALLEST', 1)


def made(seed: int = 0) -> AttentionGraph:
    generator = torch.Generator().manual_seed(seed)
    edge_index = torch.randint(30, (2, 90), generator=generator)
    edge_attr = torch.rand(90, 2, generator=generator)
    found = attention_graph(edge_index, 30, edge_attr=edge_attr, expander_degree=2, expander_seed=seed)
    return AttentionGraph(with_transpose(found.neighbors, with_edge_id=True), found.edge_attr)


class Builder:
    """Builds a graph, and counts how often."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.times = folder, 0

    def __call__(self) -> AttentionGraph:
        self.times += 1
        return made()

    def kept(self, most_bytes: float = 1e9, **made_from: Any) -> AttentionGraph:
        wanted = {**MADE_FROM, **made_from}
        return kept(wanted, self, name='grid', num_edges=9, folder=self.folder, most_bytes=most_bytes)


@pytest.fixture
def builder(tmp_path: Path) -> Builder:
    return Builder(tmp_path / 'graphs')


def same(one: AttentionGraph, other: AttentionGraph) -> bool:
    first, second = (graph_store._arrays(found) for found in (one, other))
    assert [*first] == [*second] == [*ARRAYS]
    pairs = zip(first.values(), second.values(), strict=True)
    equal = all(torch.equal(a, b) and a.dtype == b.dtype for a, b in pairs)
    return equal and one.neighbors.num_sources == other.neighbors.num_sources


def place_of(builder: Builder) -> Path:
    (found,) = graphs(builder.folder)
    return found.folder


def test_a_graph_is_built_once_and_equal_ever_after(builder: Builder) -> None:
    for _ in range(3):
        assert same(builder.kept(), made())
    assert builder.times == 1
    assert not list(builder.folder.glob('.*.partial'))


def test_whatever_it_is_made_from_makes_another_graph(builder: Builder) -> None:
    for changes in ({}, {'edges': 'abd'}, {'expander_seed': 1}, {'new': None}):
        builder.kept(**changes)
    assert builder.times == len(graphs(builder.folder)) == 4


def truncate(file: Path) -> None:
    os.truncate(file, file.stat().st_size - 1)


def flip(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)


def replace_by_a_folder(file: Path) -> None:
    file.unlink()
    file.mkdir()


def replace_by_a_pipe(file: Path) -> None:
    file.unlink()
    os.mkfifo(file)


@pytest.mark.parametrize('damage', [truncate, flip, Path.unlink, replace_by_a_folder, replace_by_a_pipe])
@pytest.mark.parametrize('name', [MANIFEST, *(f'{name}.npy' for name in ARRAYS)])
def test_damage_is_noticed_and_the_graph_made_anew(
    builder: Builder, name: str, damage: Callable[[Path], None]
) -> None:
    builder.kept()
    damage(place_of(builder) / name)
    assert same(builder.kept(), made()) and builder.times == 2
    assert same(builder.kept(), made()) and builder.times == 2


def test_what_is_no_graph_or_a_copy_is_made_anew(builder: Builder, tmp_path: Path) -> None:
    builder.kept()
    place = place_of(builder)
    content = json.loads((place / MANIFEST).read_text())
    for other in ([], 'text', {}, {**content, 'files': {}}, {**content, 'num_sources': 7}):
        (place / MANIFEST).write_text(json.dumps(other))
        before = builder.times
        assert same(builder.kept(), made()) and builder.times == before + 1
    shutil.copytree(place, tmp_path / 'copy')  # from another machine: whether it is whole is not known
    shutil.rmtree(place)
    (tmp_path / 'copy').rename(place)
    before = builder.times
    assert same(builder.kept(), made()) and builder.times == before + 1


def test_a_folder_that_cannot_be_written_keeps_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / 'file').touch()
    builder = Builder(tmp_path / 'file' / 'graphs')
    assert same(builder.kept(), made()) and builder.times == 1
    assert 'cannot be kept' in caplog.text and 'prep.cache_dir' in caplog.text


def test_a_full_disk_keeps_nothing_half_written(
    builder: Builder, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(file: Path, array: Any) -> None:
        file.write_bytes(b'some')
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(file))

    monkeypatch.setattr(graph_store, 'write_array', refuse)
    assert same(builder.kept(), made())
    assert 'No space left' in caplog.text
    assert [path.suffix for path in builder.folder.iterdir()] in ([], ['.lock'])


def test_errors_of_building_are_not_hidden(builder: Builder) -> None:
    def fail() -> AttentionGraph:
        raise OSError('of the data set')

    with pytest.raises(OSError, match='of the data set'):
        kept(MADE_FROM, fail, name='', num_edges=9, folder=builder.folder, most_bytes=1e9)
    assert same(builder.kept(), made())


def test_those_not_used_for_the_longest_time_make_room(builder: Builder) -> None:
    builder.kept()
    size = graphs(builder.folder)[0].num_bytes
    for seed in (1, 2, 0):  # the first one is used again
        builder.kept(expander_seed=seed)
        time.sleep(0.02)
    builder.kept(most_bytes=3.5 * size, expander_seed=3)
    assert len(graphs(builder.folder)) == 3
    before = builder.times
    builder.kept(most_bytes=3.5 * size)  # still there
    builder.kept(most_bytes=3.5 * size, expander_seed=2)
    assert builder.times == before
    builder.kept(most_bytes=3.5 * size, expander_seed=1)
    assert builder.times == before + 1


def test_what_is_larger_than_all_may_take_is_not_kept(builder: Builder) -> None:
    for most_bytes in (0, 100):
        assert same(builder.kept(most_bytes), made())
    assert builder.times == 2 and not graphs(builder.folder)


def test_two_that_want_the_same_graph_build_it_once(
    builder: Builder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slowly() -> AttentionGraph:
        time.sleep(0.3)
        return builder()

    found = []

    def want() -> None:
        found.append(kept(MADE_FROM, slowly, name='', num_edges=9, folder=builder.folder, most_bytes=1e9))

    threads = [threading.Thread(target=want) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert builder.times == 1 and len(found) == 3 and all(same(one, made()) for one in found)


def test_what_a_killed_process_left_is_deleted(builder: Builder) -> None:
    left = builder.folder / f'.{"0" * 32}.partial'
    left.mkdir(parents=True)
    (left / 'source.npy').write_bytes(b'some')
    builder.kept()
    assert not left.exists()


def test_small_graphs_need_no_folder(builder: Builder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graph_store, 'SMALLEST', 10)
    builder.kept()
    assert not builder.folder.exists()


def test_graphs_of_data_sets_are_kept(
    graphgym_cfg: CfgNode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    c = graphgym_cfg
    c.dataset.format, c.dataset.name, c.dataset.grid_side = 'grid', 'minesweeper', 9
    c.dataset.split_mode, c.dataset.split = 'random', [0.5, 0.25, 0.25]
    c.prep.exp_deg, c.prep.cache_dir = 2, str(tmp_path / 'graphs')
    built = []

    def counted(*args: Any, **kwargs: Any) -> AttentionGraph:
        built.append(kwargs)
        return attention_graph(*args, **kwargs)

    monkeypatch.setattr(graph, 'attention_graph', counted)

    def edges() -> torch.Tensor:
        data = graph.load_graph('grid', 'minesweeper', '')
        assert data is not None and data.layers[0].transpose is not None
        return data.layers[0].edge_index()

    first = edges()
    assert torch.equal(edges(), first) and len(built) == 1
    changes: list[tuple[str, Any]] = [
        ('exp_seed', 1), ('exp_deg', 3), ('add_self_loops', False), ('num_virt_node', 1), ('exp', False),
    ]  # fmt: skip
    for number, (key, value) in enumerate(changes):
        c.prep[key] = value
        assert not torch.equal(edges()[:, -9:], first[:, -9:]) and len(built) == number + 2
    c.dataset.grid_side = 8
    edges()
    assert len(built) == len(changes) + 2


def test_command_lists_and_clears(builder: Builder, capsys: pytest.CaptureFixture[str]) -> None:
    builder.kept()
    mine = builder.folder / 'my-results'
    mine.mkdir()
    cache.main(['--dir', str(builder.folder)])
    told = capsys.readouterr().out
    assert 'grid' in told and f'1 attention graph, 0.00 GB in {builder.folder}' in told
    cache.main(['--clear', '--dir', str(builder.folder)])
    assert 'deleted 1 attention graph' in capsys.readouterr().out
    assert not graphs(builder.folder) and mine.is_dir()
    cache.main(['--dir', str(builder.folder)])
    assert capsys.readouterr().out.startswith('0 attention graphs')
