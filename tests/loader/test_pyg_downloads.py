"""PyG's data sets when files are missing, torn or fetched: what is said, and what is left on the disk."""

from __future__ import annotations

import errno
import shutil
import socket
from pathlib import Path

import pytest
import torch
from fake_network import Network, files_under
from sources import read

from graphgps_ext.loader.datasets import load_data
from graphgps_ext.loader.datasets.download import TIMEOUT_SECONDS


@pytest.mark.parametrize(
    ('format', 'name', 'planetoid_split', 'place', 'file'),
    [
        ('PyG-Actor', '', 'public', 'Actor/raw', 'film_split_0.6_0.2_9.npz'),
        ('PyG-Amazon', 'computers', 'public', 'Amazon/Computers/raw', 'amazon_electronics_computers.npz'),
        ('PyG-Coauthor', 'CS', 'public', 'Coauthor/CS/raw', 'ms_academic_cs.npz'),
        (
            'PyG-HeterophilousGraphDataset',
            'Roman-Empire',
            'public',
            'HeterophilousGraphDataset/roman_empire/raw',
            'roman_empire.npz',
        ),
        ('PyG-LINKXDataset', 'penn94', 'public', 'LINKXDataset/penn94/raw', 'fb100-Penn94-splits.npy'),
        ('PyG-Planetoid', 'pubmed', 'public', 'Planetoid/PubMed/raw', 'ind.pubmed.test.index'),
        ('PyG-Planetoid', 'pubmed', 'geom-gcn', 'PubMed/geom-gcn/raw', 'pubmed_split_0.6_0.2_9.npz'),
        ('PyG-WikiCS', '', 'public', 'WikiCS/raw', 'data.json'),
    ],
)
def test_missing_data_without_network_says_which_file_goes_where_and_leaves_nothing(
    tmp_path: Path, format: str, name: str, planetoid_split: str, place: str, file: str
) -> None:
    root = tmp_path / 'not' / 'there'
    with pytest.raises(FileNotFoundError) as error:
        load_data(format, name, root, planetoid_split=planetoid_split)
    for part in (place, file, 'no route to host', 'set dataset.dir'):
        assert part in str(error.value)
    assert list(tmp_path.iterdir()) == []


def test_download_puts_whole_files_in_place_and_is_not_repeated(
    real_datasets: Path, tmp_path: Path, network: Network
) -> None:
    network.serve(*(real_datasets / 'Planetoid' / 'Cora' / 'geom-gcn' / 'raw').iterdir())
    data = read('PyG-Planetoid', 'cora', tmp_path / 'new', planetoid_split='geom-gcn')
    real = read('PyG-Planetoid', 'cora', real_datasets, planetoid_split='geom-gcn')
    assert torch.equal(data.x, real.x) and torch.equal(data.train_mask, real.train_mask)
    folder = Path('Planetoid', 'Cora', 'geom-gcn', 'raw')
    assert files_under(tmp_path / 'new' / folder) == files_under(real_datasets / folder)
    assert len(files_under(tmp_path)) == 18
    network.files.clear()
    assert load_data('PyG-Planetoid', 'cora', tmp_path / 'new', planetoid_split='geom-gcn') is not None


def test_download_completes_a_folder_and_keeps_what_is_there(
    real_datasets: Path, tmp_path: Path, network: Network
) -> None:
    raw = real_datasets / 'Actor' / 'raw'
    there = tmp_path / 'Actor' / 'raw' / 'out1_graph_edges.txt'
    there.parent.mkdir(parents=True)
    there.write_bytes((raw / there.name).read_bytes())
    written_at = there.stat().st_mtime_ns
    network.serve(*raw.iterdir())
    assert load_data('PyG-Actor', '', tmp_path) is not None
    assert files_under(tmp_path / 'Actor' / 'raw') == files_under(raw)
    assert there.stat().st_mtime_ns == written_at


def test_download_that_breaks_off_leaves_nothing(
    real_datasets: Path, tmp_path: Path, network: Network
) -> None:
    network.serve(real_datasets / 'Actor' / 'raw' / 'out1_node_feature_label.txt')
    with pytest.raises(
        FileNotFoundError, match=r'Actor: missing in .*out1_graph_edges\.txt.*no route to host'
    ):
        load_data('PyG-Actor', '', tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_interrupted_download_leaves_nothing(real_datasets: Path, tmp_path: Path, network: Network) -> None:
    network.serve(real_datasets / 'Actor' / 'raw' / 'out1_node_feature_label.txt')
    network.broken_by = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        load_data('PyG-Actor', '', tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.filterwarnings('ignore:unclosed file:ResourceWarning')  # numpy's, on a torn .npz
@pytest.mark.filterwarnings('ignore::pytest.PytestUnraisableExceptionWarning')
def test_truncated_download_is_not_put_in_place(
    real_datasets: Path, tmp_path: Path, network: Network
) -> None:
    network.serve(real_datasets / 'Amazon' / 'Photo' / 'raw' / 'amazon_electronics_photo.npz')
    network.files = {name: content[:100_000] for name, content in network.files.items()}
    with pytest.raises(ValueError, match=r'cannot read the raw files in .*Photo.raw \(BadZipFile'):
        load_data('PyG-Amazon', 'photo', tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_full_disk_leaves_nothing(
    real_datasets: Path, tmp_path: Path, network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    def half_a_copy(source: Path, target: Path) -> None:
        target.write_bytes(source.read_bytes()[:1000])
        raise OSError(errno.ENOSPC, 'No space left on device')

    network.serve(real_datasets / 'Amazon' / 'Photo' / 'raw' / 'amazon_electronics_photo.npz')
    monkeypatch.setattr(shutil, 'copyfile', half_a_copy)
    with pytest.raises(OSError, match=r'cannot write .*Photo.raw .*No space left.*set dataset\.dir'):
        load_data('PyG-Amazon', 'photo', tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_silent_connection_fails_within_a_download_and_only_there(tmp_path: Path, network: Network) -> None:
    assert socket.getdefaulttimeout() is None
    with pytest.raises(FileNotFoundError):
        load_data('PyG-WikiCS', '', tmp_path)
    assert network.timeouts == [TIMEOUT_SECONDS]
    assert socket.getdefaulttimeout() is None


@pytest.mark.filterwarnings('ignore:unclosed file:ResourceWarning')  # numpy's, on a torn .npz
@pytest.mark.filterwarnings('ignore::pytest.PytestUnraisableExceptionWarning')
def test_damaged_raw_file_is_named_and_stays(real_datasets: Path, tmp_path: Path) -> None:
    whole = real_datasets / 'HeterophilousGraphDataset' / 'minesweeper' / 'raw' / 'minesweeper.npz'
    torn = tmp_path / whole.relative_to(real_datasets)
    torn.parent.mkdir(parents=True)
    torn.write_bytes(whole.read_bytes()[:50_000])
    before = files_under(tmp_path)
    with pytest.raises(ValueError, match=r'minesweeper.raw .*remove them .*or correct dataset\.dir'):
        load_data('PyG-HeterophilousGraphDataset', 'minesweeper', tmp_path)
    assert files_under(tmp_path) == before


def test_torn_processed_file_of_pyg_does_no_harm(real_datasets: Path, tmp_path: Path) -> None:
    whole = real_datasets / 'HeterophilousGraphDataset' / 'minesweeper' / 'raw' / 'minesweeper.npz'
    copy = tmp_path / whole.relative_to(real_datasets)
    copy.parent.mkdir(parents=True)
    copy.write_bytes(whole.read_bytes())
    processed = copy.parent.parent / 'processed' / 'data.pt'
    processed.parent.mkdir()
    processed.write_bytes(b'torn')
    assert load_data('PyG-HeterophilousGraphDataset', 'minesweeper', tmp_path) is not None
    assert processed.read_bytes() == b'torn'
