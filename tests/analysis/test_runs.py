"""Finding score stores and comparing networks."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from stores import random_scores, saved

from graphgps_ext.analysis import compare_widths, find_runs, network_distance
from graphgps_ext.analysis.runs import networks


def family(folder: Path, widths=(4, 8), seeds=(0, 1, 2), **changes) -> Path:
    for width in widths:
        for seed in seeds:
            found = random_scores(100 * width + seed, width=width, **changes)
            found.manifest.__dict__['seed'] = seed  # frozen, but of the test's own making
            saved(folder / f'width-{width}' / f'{seed}', found)
    return folder


def test_runs_are_found_at_any_depth_and_grouped_by_network(tmp_path):
    family(tmp_path / 'with')
    family(tmp_path / 'without', widths=(8,), expander_degree=0)
    groups = networks(find_runs(tmp_path))
    assert {name: [run.name for run in runs] for name, runs in groups.items()} == {
        'width 4': ['0', '1', '2'],
        'width 8': ['0', '1', '2'],
        'width 8, no expander': ['0', '1', '2'],
    }


@pytest.mark.parametrize('place', ['', 'width-4', 'width-4/1', 'width-4/1/scores'])
def test_a_folder_a_run_and_a_store_are_accepted(tmp_path, place):
    family(tmp_path)
    assert next(run.width for run in find_runs(tmp_path / place)) == 4


def test_half_written_stores_are_not_runs(tmp_path):
    path = saved(tmp_path / '0', random_scores())
    path.rename(path.with_name('.scores.partial'))
    with pytest.raises(FileNotFoundError, match='has no attention scores below it'):
        find_runs(tmp_path)


def test_splits_tell_runs_apart_where_there_are_several(tmp_path):
    for split in ('0', '1'):
        saved(tmp_path / split, random_scores(split=f'split {split}', split_fingerprint=split))
    assert [run.name for run in find_runs(tmp_path)] == ['0, split 0', '0, split 1']


def test_a_missing_run_is_named_with_what_makes_it(tmp_path):
    with pytest.raises(
        FileNotFoundError, match=r'nowhere is no folder .*run stage 1 first, python run/main\.py'
    ):
        find_runs(tmp_path / 'nowhere')


def test_runs_of_two_data_sets_are_refused(tmp_path):
    saved(tmp_path / 'a', random_scores())
    saved(tmp_path / 'b', random_scores(dataset='other'))
    with pytest.raises(ValueError, match=r'do not belong together:\n  dataset toy: .*\n  dataset other: '):
        find_runs(tmp_path)


def test_the_same_network_twice_is_refused(tmp_path):
    saved(tmp_path / 'a', random_scores())
    saved(tmp_path / 'b', random_scores())
    with pytest.raises(
        ValueError, match='two runs are the same network, width 4, with the same seed and split'
    ):
        find_runs(tmp_path)


def test_damaged_scores_are_refused(tmp_path):
    path = saved(tmp_path / '0', random_scores())
    array = np.load(path / 'layer_1.npy')
    array[3] = np.nan
    np.save(path / 'layer_1.npy', array)
    with pytest.raises(
        ValueError, match=r'layer_1\.npy is damaged: its checksum is not the one in the manifest'
    ):
        find_runs(tmp_path)[0].load()


def test_each_run_is_compared_with_the_next_of_the_reference(tmp_path):
    table = compare_widths(find_runs(family(tmp_path)))
    trained = table[table.width > 0]
    assert {*zip(trained['width'], trained['run'], trained['reference_run'], strict=True)} == {
        (width, run, other) for width in (4, 8) for run, other in (('0', '1'), ('1', '2'), ('2', '0'))
    }
    runs = find_runs(tmp_path)
    wanted = network_distance(runs[0].load(), runs[4].load())  # width 4, seed 0 and width 8, seed 1
    found = table[(table.network == 'width 4') & (table.run == '0') & (table.edges == 'all')]
    assert found['mean'].to_list() == pytest.approx(wanted['mean'].to_list(), nan_ok=True)


def test_two_seeds_of_the_reference_are_one_pair(tmp_path):
    table = compare_widths(find_runs(family(tmp_path, seeds=(0, 1))), reference=4)
    itself = table[table.width == 4]
    assert {*zip(itself['run'], itself['reference_run'], strict=True)} == {('0', '1')}
    assert {*table[table.width == 8]['run']} == {'0', '1'}


def test_baselines_are_compared_with_every_run_of_the_reference(tmp_path):
    table = compare_widths(find_runs(family(tmp_path)), reference=4)
    for baseline in ('uniform', 'random'):
        rows = table[table.network == baseline]
        assert {*rows['reference_run']} == {'0', '1', '2'}
        assert {*rows['edges']} == {'all', 'without expander edges'}


def test_a_single_run_is_compared_with_the_baselines(tmp_path):
    saved(tmp_path, random_scores())
    assert {*compare_widths(find_runs(tmp_path))['network']} == {'uniform', 'random'}


def test_scores_without_expander_edges_are_not_looked_at_without_them(tmp_path):
    degrees = (2, 2, 2)  # a graph edge and a self-loop each
    saved(tmp_path, random_scores(degrees=degrees, expander_degree=0))
    assert {*compare_widths(find_runs(tmp_path))['edges']} == {'all'}


def test_a_reference_that_was_not_trained_is_refused(tmp_path):
    with pytest.raises(
        ValueError, match='no network of the reference width 16 with expander, only of width 4, 8'
    ):
        compare_widths(find_runs(family(tmp_path)), reference=16)


def test_widths_with_other_seeds_are_refused(tmp_path):
    family(tmp_path, widths=(8,))
    family(tmp_path, widths=(4,), seeds=(0, 2))
    with pytest.raises(
        ValueError, match=r'width 4 has the runs \(seeds\) 0; 2, but width 8 has 0; 1; 2: train'
    ):
        compare_widths(find_runs(tmp_path))


def test_widths_on_other_expanders_are_refused(tmp_path):
    family(tmp_path, widths=(8,))
    family(tmp_path, widths=(4,), degrees=(5, 0, 1, 3, 12, 2, 7, 1, 29, 5), expander_seed=7)
    with pytest.raises(ValueError, match='can be compared on the same edges only'):
        compare_widths(find_runs(tmp_path))


def test_runs_below_a_hidden_folder_are_found_from_within_it(tmp_path):
    saved(tmp_path / '.cache' / '0', random_scores())
    assert len(find_runs(tmp_path / '.cache')) == 1


def test_runs_of_other_features_or_labels_are_refused(tmp_path):
    saved(tmp_path / 'a', random_scores())
    saved(tmp_path / 'b', random_scores(seed=1, labels_fingerprint='other'))
    with pytest.raises(ValueError, match=r'do not belong together:\n  labels_fingerprint 0b: .*/a/scores'):
        find_runs(tmp_path)


def test_runs_that_differ_in_more_than_seed_and_split_are_no_network(tmp_path):
    saved(tmp_path / 'a', random_scores())
    saved(tmp_path / 'b', random_scores(seed=1, estimator='other'))
    with pytest.raises(
        ValueError, match='two runs of width 4 differ in more config keys than seed and split'
    ):
        find_runs(tmp_path)


def lose_manifest(store: Path) -> None:
    (store / 'manifest.json').unlink()


def cut_manifest(store: Path) -> None:
    (store / 'manifest.json').write_bytes((store / 'manifest.json').read_bytes()[:100])


def make_a_file_of_it(store: Path) -> None:
    shutil.rmtree(store)
    store.write_text('')


def link_to_itself(store: Path) -> None:
    shutil.rmtree(store)
    store.symlink_to(store)


@pytest.mark.parametrize('damage', [lose_manifest, cut_manifest, make_a_file_of_it, link_to_itself])
def test_a_damaged_store_is_named_not_left_out(tmp_path, damage):
    family(tmp_path)
    damage(tmp_path / 'width-4' / '1' / 'scores')
    with pytest.raises(ValueError, match=r'some of the scores below .*\n  .*width-4/1/scores'):
        find_runs(tmp_path)


def test_links_are_followed_and_loops_of_them_end(tmp_path):
    family(tmp_path / 'elsewhere')
    (tmp_path / 'runs').mkdir()
    (tmp_path / 'runs' / 'moved').symlink_to(tmp_path / 'elsewhere')
    (tmp_path / 'runs' / 'loop').symlink_to(tmp_path / 'runs')
    assert [run.name for run in find_runs(tmp_path / 'runs')] == ['0', '1', '2'] * 2


def test_scores_that_are_replaced_meanwhile_are_noticed(tmp_path):
    path = saved(tmp_path / '0', random_scores())
    (run,) = find_runs(tmp_path)
    shutil.rmtree(path)
    saved(tmp_path / '0', random_scores(seed=1))
    with pytest.raises(ValueError, match='were replaced while they were looked at'):
        run.load()
