"""What is wrong is not written, and nothing half-written is left behind."""

import errno
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from toy_store import BAD_VALUES

from graphgps_ext import files, scores
from graphgps_ext.scores.files import write_array


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

    monkeypatch.setattr(files.os, 'fsync', full)
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
        write_array(Path('/dev/full'), np.zeros(1 << 20))
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
import files  # alone: the whole package takes seconds to import
with files.new_folder(Path(sys.argv[1])) as folder:
    files.write_bytes(folder / 'indptr.npy', bytes(3))
    os.kill(os.getpid(), signal.SIGKILL)
"""
    path = tmp_path / 'scores'
    folder = Path(files.__file__).parent
    result = subprocess.run([sys.executable, '-c', code, str(path)], cwd=folder, check=False)
    assert result.returncode == -signal.SIGKILL
    assert os.listdir(tmp_path) == ['.scores.partial']
    with pytest.raises(FileNotFoundError, match='run stage 1 first'):
        scores.load(path)
    scores.save(path, graph, layers, manifest)
    assert os.listdir(tmp_path) == ['scores']
