"""Which of the runs of stage 1 stage 2 takes its scores from."""

from dataclasses import replace
from pathlib import Path

import pytest
from torch import Tensor

from graphgps_ext import scores
from graphgps_ext.graph import InNeighbors


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
