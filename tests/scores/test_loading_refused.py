"""Stored scores that do not fit are refused."""

import os

import numpy as np
import pytest
import torch
from toy_store import BAD_VALUES, rewrite

from graphgps_ext import scores
from graphgps_ext.scores import store


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
        f'graph_fingerprint: wanted 0123, got {fingerprint} (key dataset.name, dataset.path or prep.*)',
        'split_fingerprint: wanted def, got abc '
        '(key dataset.split_mode, dataset.split_seed or dataset.split_index)',
        'expander_algorithm: wanted hamiltonian, got permutation (key prep.exp_algorithm)',
        'expander_degree: wanted 15, got 1 (key prep.exp_deg)',
        'expander_seed: wanted 1, got 0 (key prep.exp_seed)',
        'num_layers: wanted 4, got 3 (key gt.layers, or spex.allow_fewer_layers to use the first of more, '
        'or spex.score_layers)',
        'run stage 1 again, key spex.estimator',
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


@pytest.mark.parametrize('block', [1, 2, 4, 1 << 24])
@pytest.mark.parametrize('value, message', BAD_VALUES)
def test_scores_that_are_no_weights_are_refused_on_loading(saved, monkeypatch, block, value, message):
    monkeypatch.setattr(store, '_BLOCK', block)
    layer = np.load(saved / 'layer_1.npy')
    layer[4] = value
    rewrite(saved, layer_1=layer)
    with pytest.raises(ValueError, match=rf'layer 1 in .*{message} \(run stage 1 again'):
        scores.load(saved)


@pytest.mark.parametrize('block', [1, 2, 4, 1 << 24])
def test_a_node_whose_scores_sum_to_zero_is_named(saved, monkeypatch, block):
    monkeypatch.setattr(store, '_BLOCK', block)
    layer = np.load(saved / 'layer_2.npy')
    layer[2:] = 0  # nodes 2 and 3; node 1 has no in-edges and is no fault
    rewrite(saved, layer_2=layer)
    with pytest.raises(ValueError, match=r'layer 2 in .* sum to more than zero, got 0 at node 2 \(run'):
        scores.load(saved)


def test_scores_of_another_tool_need_not_sum_to_one(saved):
    rewrite(saved, layer_0=np.full(6, 3, np.float32))
    assert scores.load(saved).layers[0].tolist() == [3] * 6
