"""What is written to the score store comes back."""

import json
import os
from dataclasses import replace

import numpy as np
import pytest
import torch
from toy_store import NUM_LAYERS, everything_in

from graphgps_ext import scores
from graphgps_ext.graph import InNeighbors


def test_scores_graph_and_manifest_come_back_equal(saved, graph, layers, manifest):
    loaded = scores.load(saved)
    assert loaded.manifest == replace(manifest, checksums=loaded.manifest.checksums)
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
