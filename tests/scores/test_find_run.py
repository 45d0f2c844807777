"""Which of the runs of stage 1 stage 2 takes its scores from."""

from dataclasses import replace
from pathlib import Path

import pytest
from torch import Tensor

from graphgps_ext import scores
from graphgps_ext.errors import DataError
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


def cut(store: Path) -> None:
    (store / 'manifest.json').write_bytes(b'{')


def lose(store: Path) -> None:
    (store / 'manifest.json').unlink()


@pytest.mark.parametrize('damage', [cut, lose])
def test_a_damaged_store_stands_in_the_way_only_where_it_could_be_the_wanted_one(runs, damage):
    damage(runs / '2' / 'scores')
    assert scores.find(runs, split_fingerprint='abc', seed=10) == runs / '10' / 'scores'
    message = rf'of the lowest seed cannot be told.*\(key spex\.estimator_seed\):\n  .*{runs}/2/scores'
    with pytest.raises(ValueError, match=message):
        scores.find(runs, split_fingerprint='abc')
    with pytest.raises(
        ValueError, match=rf'for seed 2 on this split (.|\n)*there are:(.|\n)*{runs}/2/scores'
    ):
        scores.find(runs, split_fingerprint='abc', seed=2)
    for run in ('0', '10'):
        damage(runs / run / 'scores')
    with pytest.raises(ValueError, match=rf'there are:\n.*{runs}/0/scores(.|\n)*{runs}/10/scores'):
        scores.find(runs, split_fingerprint='abc')


def test_stores_are_all_that_bear_the_name_whole_or_not(runs):
    lose(runs / '2' / 'scores')
    (runs / '1' / 'scores').symlink_to(runs / 'nothing')
    assert scores.stores(runs) == [runs / run / 'scores' for run in ('0', '1', '10', '2')]


def test_a_folder_is_found_by_any_of_its_names(runs, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'link').symlink_to(runs)
    for name in (runs, runs.relative_to(tmp_path), 'link', './link/'):
        assert scores.find(name, split_fingerprint='def') == Path(name) / '0' / 'scores'
        assert scores.verify(Path(name) / '0' / 'scores') == scores.verify(runs / '0' / 'scores')
    moved = runs.rename(tmp_path / 'moved')
    assert scores.load(scores.find(moved, split_fingerprint='def')).manifest.seed == 0


def test_what_is_no_folder_is_named(runs):
    with pytest.raises(DataError, match=r'manifest\.json cannot be read: Not a directory \(key spex\.estim'):
        scores.find(runs / '0' / 'scores' / 'manifest.json', split_fingerprint='abc')


def test_other_scores_of_the_same_seed_and_split_are_not_chosen_from(runs, graph, layers, manifest):
    twice = replace(manifest, seed=2)
    scores.save(runs / 'again' / 'scores', graph, layers, twice)
    assert scores.find(runs, split_fingerprint='abc') == runs / '2' / 'scores'  # they are the same
    scores.save(runs / 'other' / 'scores', graph, layers[::-1], twice)
    for seed in (None, 2):
        with pytest.raises(DataError, match='are both for seed 2 on this split, but hold other scores: move'):
            scores.find(runs, split_fingerprint='abc', seed=seed)
    assert scores.find(runs, split_fingerprint='abc', seed=10) == runs / '10' / 'scores'


def test_a_run_that_may_not_be_looked_at_is_named(runs, monkeypatch):
    real = Path.lstat

    def refuse(path: Path) -> object:
        if path == runs / '2' / 'scores':
            raise PermissionError(13, 'Permission denied', str(path))
        return real(path)

    monkeypatch.setattr(Path, 'lstat', refuse)  # the superuser of a container may look at everything
    with pytest.raises(
        DataError, match=r'2/scores cannot be read: Permission denied \(key spex\.estimator\)'
    ):
        scores.find(runs, split_fingerprint='abc')
