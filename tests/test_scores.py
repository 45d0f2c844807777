"""The score store: what is written comes back, and nothing else is accepted or left behind."""

import errno
import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from graphgps_ext import array_files, scores
from graphgps_ext.ops.neighbors import InNeighbors

NUM_LAYERS = 3


@pytest.fixture
def graph() -> InNeighbors:
    """Four nodes; node 1 has no in-edges."""
    return InNeighbors(
        torch.tensor([0, 2, 2, 3, 6]),
        torch.tensor([0, 3, 2, 0, 1, 3], dtype=torch.int32),
        torch.tensor([2, 0, 2, 0, 1, 2], dtype=torch.int8),
        num_sources=4,
    )


@pytest.fixture
def layers() -> list[Tensor]:
    return [torch.tensor([0.25, 0.75, 1.0, 0.5, 0.5 - x, x]) for x in (0.125, 0.25, 0.0)]


@pytest.fixture
def manifest(graph: InNeighbors) -> scores.Manifest:
    return scores.Manifest(
        dataset='toy',
        num_nodes=graph.num_nodes,
        num_edges=graph.num_edges,
        num_layers=NUM_LAYERS,
        graph_fingerprint=scores.graph_fingerprint(graph),
        split_fingerprint='abc',
        split='random, seed 0',
        expander_algorithm='permutation',
        expander_degree=1,
        expander_seed=0,
        width=4,
        seed=0,
        epoch=17,
        temperature=0.5,
        metric='auc',
        metric_value=0.875,
    )


@pytest.fixture
def saved(tmp_path: Path, graph: InNeighbors, layers: list[Tensor], manifest: scores.Manifest) -> Path:
    path = tmp_path / 'estimator' / '0' / 'scores'
    scores.save(path, graph, layers, manifest)
    return path


def everything_in(folder: Path) -> list[str]:
    return sorted(str(p.relative_to(folder)) for p in folder.rglob('*') if p.is_file())


# --- what is written comes back ---


def test_scores_graph_and_manifest_come_back_equal(saved, graph, layers, manifest):
    loaded = scores.load(saved)
    assert loaded.manifest == manifest
    assert len(loaded.layers) == NUM_LAYERS
    for found, wanted in zip(loaded.layers, layers, strict=True):
        assert torch.equal(found, wanted)
    assert torch.equal(loaded.graph.indptr, graph.indptr)
    assert torch.equal(loaded.graph.source, graph.source)
    assert torch.equal(loaded.graph.edge_type, graph.edge_type)
    assert loaded.graph.num_sources == graph.num_sources


def test_a_graph_with_wide_indices_is_stored_in_narrow_ones(tmp_path, graph, layers, manifest):
    scores.save(tmp_path / 'scores', replace(graph, source=graph.source.long()), layers, manifest)
    assert torch.equal(scores.load(tmp_path / 'scores').graph.source, graph.source)


def test_numpy_and_json_alone_read_the_folder(saved, layers):
    assert everything_in(saved) == [
        'edge_type.npy',
        'indptr.npy',
        'layer_0.npy',
        'layer_1.npy',
        'layer_2.npy',
        'manifest.json',
        'source.npy',
    ]
    content = json.loads((saved / 'manifest.json').read_text())
    assert content['epoch'] == 17
    assert content['versions']['torch'] == torch.__version__
    for i, layer in enumerate(layers):
        mapped = np.load(saved / f'layer_{i}.npy', mmap_mode='r', allow_pickle=False)
        assert isinstance(mapped, np.memmap)
        assert mapped.dtype == np.float32
        assert mapped.tolist() == layer.tolist()


def test_loaded_scores_are_mapped_and_writing_to_them_spares_the_file(saved, layers):
    loaded = scores.load(saved)
    loaded.layers[0].zero_()
    assert torch.equal(scores.load(saved).layers[0], layers[0])


def test_layers_are_taken_one_at_a_time(tmp_path, graph, layers, manifest):
    path = tmp_path / 'scores'
    partial = tmp_path / '.scores.partial'

    def stream():
        for i, layer in enumerate(layers):
            assert (partial / f'layer_{i - 1}.npy').exists() == (i > 0)
            yield layer.double().requires_grad_()

    scores.save(path, graph, stream(), manifest)
    assert torch.equal(scores.load(path).layers[2], layers[2])


def test_an_existing_folder_is_replaced_only_when_asked(saved, graph, layers, manifest):
    with pytest.raises(FileExistsError, match=r'scores exists already: .* out_dir'):
        scores.save(saved, graph, layers, manifest)
    scores.save(saved, graph, layers[::-1], replace(manifest, epoch=18), overwrite=True)
    loaded = scores.load(saved)
    assert loaded.manifest.epoch == 18
    assert torch.equal(loaded.layers[0], layers[2])
    assert os.listdir(saved.parent) == ['scores']


def test_a_graph_without_edges_is_stored_too(tmp_path, manifest):
    empty = torch.tensor([], dtype=torch.int32)
    graph = InNeighbors(torch.zeros(3, dtype=torch.int64), empty, empty.to(torch.int8), num_sources=2)
    manifest = replace(
        manifest, num_nodes=2, num_edges=0, num_layers=1, graph_fingerprint=scores.graph_fingerprint(graph)
    )
    scores.save(tmp_path / 'scores', graph, [torch.empty(0)], manifest)
    assert scores.load(tmp_path / 'scores').layers[0].shape == (0,)


# --- what does not fit is refused ---


def test_missing_scores_say_to_run_stage_one(tmp_path):
    for call in (
        lambda: scores.load(tmp_path / 'none'),
        lambda: scores.find(tmp_path / 'none', split_fingerprint='abc'),
    ):
        message = r'no attention scores in .*none: run stage 1 first \(key spex\.estimator\)'
        with pytest.raises(FileNotFoundError, match=message):
            call()


def test_every_difference_is_named_at_once_with_its_key(saved):
    expect = dict(
        dataset='other',
        graph_fingerprint='0123',
        split_fingerprint='def',
        expander_algorithm='hamiltonian',
        expander_degree=15,
        expander_seed=1,
        num_layers=4,
        width=4,
    )
    with pytest.raises(ValueError) as error:
        scores.load(saved, expect=expect)
    head, *lines = str(error.value).splitlines()
    assert head == f'the scores in {saved} were made for something else:'
    fingerprint = scores.load(saved).manifest.graph_fingerprint
    assert [line.strip() for line in lines] == [
        'dataset: wanted other, got toy (key dataset.name)',
        f'graph_fingerprint: wanted 0123, got {fingerprint} (key dataset.name or prep.*)',
        'split_fingerprint: wanted def, got abc '
        '(key dataset.split_mode, dataset.split_seed or dataset.split_index)',
        'expander_algorithm: wanted hamiltonian, got permutation (key prep.exp_algorithm)',
        'expander_degree: wanted 15, got 1 (key prep.exp_deg)',
        'expander_seed: wanted 1, got 0 (key prep.exp_seed)',
        'num_layers: wanted 4, got 3 (key gt.layers, or spex.allow_fewer_layers to use the first of more, '
        'or spex.score_layers)',
    ]


def test_fewer_layers_than_stored_are_given_only_when_asked_for(saved, layers):
    with pytest.raises(ValueError, match=r'num_layers: wanted 2, got 3 .*spex\.allow_fewer_layers'):
        scores.load(saved, expect=dict(num_layers=2))
    loaded = scores.load(saved, expect=dict(num_layers=2), allow_fewer_layers=True)
    assert len(loaded.layers) == 2
    assert torch.equal(loaded.layers[1], layers[1])
    with pytest.raises(ValueError, match='num_layers: wanted 4, got 3'):
        scores.load(saved, expect=dict(num_layers=4), allow_fewer_layers=True)


def test_an_unknown_field_in_expect_is_a_mistake_of_the_caller(saved):
    with pytest.raises(TypeError, match='a manifest has no expander_sed'):
        scores.load(saved, expect=dict(expander_sed=0))


@pytest.mark.parametrize('name', ['indptr', 'source', 'edge_type', 'layer_2'])
def test_a_truncated_file_is_named_with_its_bytes(saved, name):
    file = saved / f'{name}.npy'
    size = file.stat().st_size
    os.truncate(file, size - 5)
    with pytest.raises(
        ValueError, match=rf'{name}\.npy is truncated: wanted {size} bytes, found {size - 5} .*spex'
    ):
        scores.load(saved)


def test_a_file_cut_within_its_header_is_damaged_and_an_absent_one_missing(saved):
    os.truncate(saved / 'layer_1.npy', 40)
    with pytest.raises(ValueError, match=r'layer_1\.npy is damaged: .*run stage 1 again'):
        scores.load(saved)
    (saved / 'layer_1.npy').unlink()
    with pytest.raises(ValueError, match=r'layer_1\.npy is missing .*run stage 1 again'):
        scores.load(saved)


def test_an_array_of_another_dtype_is_refused(saved):
    np.save(saved / 'layer_1.npy', np.zeros(6))
    with pytest.raises(ValueError, match=r'needs shape \(6,\) and dtype float32, got \(6,\) and float64'):
        scores.load(saved)


def test_a_changed_graph_is_noticed(saved):
    source = np.load(saved / 'source.npy')
    source[1] = 1
    np.save(saved / 'source.npy', source)
    with pytest.raises(ValueError, match=r'is not the one its manifest names: .* damaged'):
        scores.load(saved)


@pytest.mark.parametrize(
    'content, message',
    [
        ('{"format_version": 1', r'manifest\.json is damaged \(JSONDecodeError'),
        ('{"format_version": 1}', r"manifest\.json is damaged \(KeyError: 'dataset'\)"),
        ('[]', r'manifest\.json is damaged \(TypeError'),
        ('{"format_version": 2}', r'manifest\.json needs format_version 1, got 2: run stage 1 again'),
    ],
)
def test_a_damaged_manifest_is_refused(saved, content, message):
    (saved / 'manifest.json').write_text(content)
    with pytest.raises(ValueError, match=message):
        scores.load(saved)


BAD_VALUES = [
    (float('nan'), r'finite and at least 0, got nan at edge 4 of node 3'),
    (float('inf'), r'finite and at least 0, got inf at edge 4 of node 3'),
    (-0.5, r'finite and at least 0, got -0\.5 at edge 4 of node 3'),
]


@pytest.mark.parametrize('block', [1, 2, 4, 1 << 24])
@pytest.mark.parametrize('value, message', BAD_VALUES)
def test_scores_that_are_no_weights_are_refused_on_loading(saved, monkeypatch, block, value, message):
    monkeypatch.setattr(scores, '_BLOCK', block)
    layer = np.load(saved / 'layer_1.npy')
    layer[4] = value
    np.save(saved / 'layer_1.npy', layer)
    with pytest.raises(ValueError, match=rf'layer 1 in .*{message} \(run stage 1 again'):
        scores.load(saved)


@pytest.mark.parametrize('block', [1, 2, 4, 1 << 24])
def test_a_node_whose_scores_sum_to_zero_is_named(saved, monkeypatch, block):
    monkeypatch.setattr(scores, '_BLOCK', block)
    layer = np.load(saved / 'layer_2.npy')
    layer[2:] = 0  # nodes 2 and 3; node 1 has no in-edges and is no fault
    np.save(saved / 'layer_2.npy', layer)
    with pytest.raises(ValueError, match=r'layer 2 in .* sum to more than zero, got 0 at node 2 \(run'):
        scores.load(saved)


def test_scores_of_another_tool_need_not_sum_to_one(saved):
    np.save(saved / 'layer_0.npy', np.full(6, 3, np.float32))
    assert scores.load(saved).layers[0].tolist() == [3] * 6


# --- what is wrong is not written ---


@pytest.mark.parametrize('value, message', BAD_VALUES)
def test_scores_that_are_no_weights_are_not_written(tmp_path, graph, layers, manifest, value, message):
    layers[1][4] = value
    with pytest.raises(ValueError, match=rf'layer 1 for .*{message}'):
        scores.save(tmp_path / 'scores', graph, layers, manifest)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    'change, message',
    [
        (lambda layers: layers[0].mul_(0.9), r'layer 0 for .* sum to one, got 0\.9 at node 0'),
        (lambda layers: layers[2].resize_(5), r'layer 2 for .*: needs shape \(6,\), got \(5,\)'),
        (lambda layers: layers.pop(), r'need 3 layers, got 2 \(key gt\.layers\)'),
        (lambda layers: layers.append(layers[0]), r'need 3 layers, got 4 \(key gt\.layers\)'),
    ],
)
def test_layers_that_do_not_fit_are_not_written(tmp_path, graph, layers, manifest, change, message):
    change(layers)
    with pytest.raises(ValueError, match=message):
        scores.save(tmp_path / 'scores', graph, layers, manifest)
    assert os.listdir(tmp_path) == []


def test_a_manifest_of_another_graph_is_not_written(tmp_path, graph, layers, manifest):
    with pytest.raises(ValueError, match=r'does not describe the graph:\n  num_edges: wanted 6, got 7'):
        scores.save(tmp_path / 'scores', graph, layers, replace(manifest, num_edges=7))


@pytest.mark.parametrize('at', range(8))
@pytest.mark.parametrize('existing', [False, True])
def test_a_full_disk_leaves_what_was_there_before(
    tmp_path, graph, layers, manifest, monkeypatch, at, existing
):
    path = tmp_path / 'estimator' / '0' / 'scores'
    if existing:
        scores.save(path, graph, layers, manifest)
    real, calls = os.fsync, []

    def full(descriptor: int) -> None:
        calls.append(descriptor)
        if len(calls) == at + 1:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(descriptor)

    monkeypatch.setattr(array_files.os, 'fsync', full)
    message = r'were not written \(the disk is full\): .*scores needs 142 bytes; .* another out_dir'
    with pytest.raises(OSError, match=message) as error:
        scores.save(path, graph, layers[::-1], replace(manifest, epoch=1), overwrite=True)
    assert error.value.errno == errno.ENOSPC
    monkeypatch.undo()
    assert os.listdir(path.parent) == (['scores'] if existing else [])
    if existing:
        assert torch.equal(scores.load(path).layers[0], layers[0])


@pytest.mark.skipif(not Path('/dev/full').exists(), reason='needs /dev/full')
def test_a_write_that_finds_no_space_fails_with_enospc():
    with pytest.raises(OSError) as error:
        array_files.write_array(Path('/dev/full'), np.zeros(1 << 20))
    assert error.value.errno == errno.ENOSPC


def test_an_interrupt_between_layers_leaves_nothing(tmp_path, graph, layers, manifest):
    def stream():
        yield layers[0]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        scores.save(tmp_path / 'scores', graph, stream(), manifest)
    assert os.listdir(tmp_path) == []


def test_a_killed_process_leaves_no_scores_and_the_next_one_clears_up(tmp_path, graph, layers, manifest):
    code = """
import os, signal, sys
from pathlib import Path
import numpy as np
import array_files  # alone: the whole package takes seconds to import
with array_files.new_folder(Path(sys.argv[1])) as folder:
    array_files.write_array(folder / 'indptr.npy', np.zeros(3))
    os.kill(os.getpid(), signal.SIGKILL)
"""
    path = tmp_path / 'scores'
    folder = Path(array_files.__file__).parent
    result = subprocess.run([sys.executable, '-c', code, str(path)], cwd=folder, check=False)
    assert result.returncode == -signal.SIGKILL
    assert os.listdir(tmp_path) == ['.scores.partial']
    with pytest.raises(FileNotFoundError, match='run stage 1 first'):
        scores.load(path)
    scores.save(path, graph, layers, manifest)
    assert os.listdir(tmp_path) == ['scores']


# --- which run ---


@pytest.fixture
def runs(tmp_path: Path, graph: InNeighbors, layers: list[Tensor], manifest: scores.Manifest) -> Path:
    """Seeds 10 and 2 on split abc, seed 0 on split def, and one run that is not finished."""
    folder = tmp_path / 'estimator'
    for run, seed, split in (('10', 10, 'abc'), ('2', 2, 'abc'), ('0', 0, 'def')):
        scores.save(
            folder / run / 'scores', graph, layers, replace(manifest, seed=seed, split_fingerprint=split)
        )
    (folder / '1').mkdir()
    return folder


def test_the_lowest_seed_on_the_same_split_is_found(runs):
    assert scores.find(runs, split_fingerprint='abc') == runs / '2' / 'scores'
    assert scores.find(runs, split_fingerprint='def') == runs / '0' / 'scores'


def test_a_given_seed_is_found(runs):
    assert scores.find(runs, split_fingerprint='abc', seed=10) == runs / '10' / 'scores'


def test_when_no_run_fits_the_message_lists_those_that_are_there(runs):
    with pytest.raises(ValueError) as error:
        scores.find(runs, split_fingerprint='abc', seed=0)
    lines = str(error.value).splitlines()
    assert lines[0].endswith('for seed 0 on this split (key spex.estimator_seed); there are:')
    assert lines[1:] == [
        f'  {runs}/0/scores: split random, seed 0 (def), seed 0',
        f'  {runs}/2/scores: split random, seed 0 (abc), seed 2',
        f'  {runs}/10/scores: split random, seed 0 (abc), seed 10',
    ]
    with pytest.raises(ValueError, match=r'for split xyz \(key dataset\.split_mode, .*there are:\n'):
        scores.find(runs, split_fingerprint='xyz')


# --- fingerprints ---


def test_the_graph_fingerprint_sees_every_part_of_the_graph(graph):
    fingerprint = scores.graph_fingerprint(graph)
    same = replace(graph, source=graph.source.long()).with_out_neighbors()
    assert scores.graph_fingerprint(same) == fingerprint
    changed = [
        replace(graph, source=graph.source.flip(0)),
        replace(graph, edge_type=graph.edge_type.flip(0)),
        replace(graph, indptr=torch.tensor([0, 2, 2, 4, 6])),
        replace(graph, num_sources=5),
    ]
    assert fingerprint not in {scores.graph_fingerprint(other) for other in changed}


def test_the_split_fingerprint_sees_every_mask():
    train, val, test = (torch.arange(10) % 3 == i for i in range(3))
    fingerprint = scores.split_fingerprint(train, val, test)
    assert scores.split_fingerprint(train.clone(), val, test) == fingerprint
    others = [(val, train, test), (train, test, val), (train, val, torch.zeros(10, dtype=torch.bool))]
    assert fingerprint not in {scores.split_fingerprint(*masks) for masks in others}
    longer = [torch.cat([mask, torch.tensor([False])]) for mask in (train, val, test)]
    assert scores.split_fingerprint(*longer) != fingerprint


def test_masks_of_several_splits_are_refused():
    mask = torch.zeros(10, dtype=torch.bool)
    with pytest.raises(
        ValueError, match=r'val_mask needs shape \(10,\) and dtype bool, got \(10, 2\) torch\.bool'
    ):
        scores.split_fingerprint(mask, mask[:, None].repeat(1, 2), mask)
    with pytest.raises(ValueError, match=r'train_mask needs shape .* got \(10,\) torch\.int64 .*split_index'):
        scores.split_fingerprint(mask.long(), mask, mask)
