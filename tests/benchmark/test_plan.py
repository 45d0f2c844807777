"""Which runs a benchmark consists of, in which order, and in which shard."""

from __future__ import annotations

from pathlib import Path

import fake_runs
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from yacs.config import CfgNode

import graphgps_ext  # noqa: F401
from graphgps_ext.benchmark.configs import Name, find_files, name_of, name_of_result, read_configs
from graphgps_ext.benchmark.grid import read_grid
from graphgps_ext.benchmark.plan import config_file, finished_runs, plan_runs, shard, write_configs
from graphgps_ext.config.load import load_config
from graphgps_ext.errors import UserError
from graphgps_ext.train.results import flat_config

OUT = Path('results')


def names(runs: list) -> list[str]:
    return [str(run) for run in runs]


@pytest.mark.parametrize(
    ('path', 'name'),
    [
        ('GCN/actor-GCN.yaml', Name('actor', 'GCN')),
        ('GPS-Performer/actor-balanced-gps-performer.yaml', Name('actor-balanced', 'GPS-Performer')),
        ('Spexphormer/actor-spexphormer.yaml', Name('actor', 'Spexphormer')),
        ('Spexphormer/minesweeper-grid-estimator.yaml', Name('minesweeper-grid', 'Spexphormer-estimator')),
        ('SpexphormerPlus/actor-spexphormer.yaml', Name('actor', 'SpexphormerPlus')),
        ('mine/actor-wide.yaml', Name('actor', 'wide')),
        ('mine/attempt.yaml', Name('actor', 'attempt')),
    ],
)
def test_name_follows_from_folder_and_file(path: str, name: Name) -> None:
    assert name_of(Path('configs') / path, 'Actor') == name


def test_results_without_a_benchmark_get_the_same_names() -> None:
    assert name_of_result('actor-GCN', 'actor') == Name('actor', 'GCN')
    assert name_of_result('actor-spexphormer', 'actor') == Name('actor', 'Spexphormer')
    assert name_of_result('actor-estimator', 'actor') == Name('actor', 'Spexphormer-estimator')


def test_files_folders_and_patterns_are_found_each_once(tmp_path: Path) -> None:
    first = fake_runs.write_config(tmp_path / 'A/actor-A.yaml')
    second = fake_runs.write_config(tmp_path / 'B/actor-B.yaml')
    assert find_files([str(second), str(tmp_path), f'{tmp_path}/*/actor-A.yaml']) == [second, first]


def test_every_config_that_is_not_there_is_named(tmp_path: Path) -> None:
    (tmp_path / 'empty').mkdir()
    with pytest.raises(UserError, match=r'no config files by these names:\n  a\.yaml\n  .*empty: a folder'):
        find_files(['a.yaml', str(tmp_path / 'empty')])


def test_all_broken_configs_are_reported_before_anything_runs(tmp_path: Path) -> None:
    one = fake_runs.write_config(tmp_path / 'A/actor-A.yaml', gt={'layer': 3})
    two = fake_runs.write_config(tmp_path / 'B/actor-B.yaml', optim={'max_epoch': 0})
    with pytest.raises(UserError) as error:
        fake_runs.plan(one, two)
    assert 'gt.layer is not a config key; the nearest is gt.layers' in str(error.value)
    assert 'optim.max_epoch needs at least 1, got 0' in str(error.value)


def test_estimator_comes_first_and_once_per_split_for_all_that_need_it(tmp_path: Path) -> None:
    _, second = fake_runs.write_pair(tmp_path)
    uniform = fake_runs.write_config(tmp_path / 'SpexphormerTop/actor-SpexphormerTop.yaml', 'spexphormer')
    gcn = fake_runs.write_config(tmp_path / 'GCN/actor-GCN.yaml')
    runs = fake_runs.plan(gcn, second, uniform, repeat=2, splits='0,3')
    assert names(runs) == [
        f'actor/{model}/split-{split}-seed-{seed}'
        for split in (0, 3)
        for model, seed in [
            ('Spexphormer-estimator', 0),
            *((model, seed) for seed in (0, 1) for model in ('GCN', 'Spexphormer', 'SpexphormerTop')),
        ]
    ]
    needed = {str(run): str(run.estimator) for run in runs if run.estimator}
    assert needed == {
        f'actor/{model}/split-{split}-seed-{seed}': f'actor/Spexphormer-estimator/split-{split}-seed-0'
        for model in ('Spexphormer', 'SpexphormerTop')
        for split in (0, 3)
        for seed in (0, 1)
    }


def test_listed_estimator_is_no_second_one(tmp_path: Path) -> None:
    first, second = fake_runs.write_pair(tmp_path)
    assert names(fake_runs.plan(first, second, repeat=2)) == names(fake_runs.plan(second, repeat=2))


def test_estimator_alone_gets_every_seed(tmp_path: Path) -> None:
    first, _ = fake_runs.write_pair(tmp_path)
    runs = fake_runs.plan(first, repeat=2)
    assert names(runs) == [f'actor/Spexphormer-estimator/split-0-seed-{seed}' for seed in (0, 1)]


def test_uniform_sampling_needs_no_estimator(tmp_path: Path) -> None:
    _, second = fake_runs.write_pair(tmp_path)
    runs = fake_runs.plan(second, overrides=('spex.strategy', 'uniform'))
    assert names(runs) == ['actor/Spexphormer/split-0-seed-0']


def test_estimator_of_the_own_folder_goes_before_that_of_the_family(tmp_path: Path) -> None:
    fake_runs.write_pair(tmp_path)
    _, plus = fake_runs.write_pair(tmp_path, 'SpexphormerPlus')
    other = fake_runs.write_config(tmp_path / 'SpexphormerTop/actor-SpexphormerTop.yaml', 'spexphormer')
    estimators = [str(run.estimator.config.name) for run in fake_runs.plan(plus, other) if run.estimator]
    assert estimators == ['actor/SpexphormerPlus-estimator', 'actor/Spexphormer-estimator']


def test_missing_estimator_is_named_with_where_it_was_looked_for(tmp_path: Path) -> None:
    path = fake_runs.write_config(tmp_path / 'Mine/actor-Mine.yaml', 'spexphormer')
    with pytest.raises(UserError, match=r'names spex\.estimator actor-estimator: .* found none'):
        fake_runs.plan(path)


def test_estimator_seed_that_stage_2_asks_for_is_the_one_trained(tmp_path: Path) -> None:
    _, second = fake_runs.write_pair(tmp_path)
    runs = fake_runs.plan(second, overrides=('spex.estimator_seed', '4'))
    assert names(runs)[0] == 'actor/Spexphormer-estimator/split-0-seed-4'


def test_two_configs_for_one_place_are_refused(tmp_path: Path) -> None:
    one = fake_runs.write_config(tmp_path / 'a/GCN/actor-GCN.yaml')
    two = fake_runs.write_config(tmp_path / 'b/GCN/actor-GCN.yaml')
    with pytest.raises(UserError, match=r'would write to one place, actor/GCN:\n.*a/GCN.*\n.*b/GCN'):
        fake_runs.plan(one, two)


def test_grid_unites_blocks_and_multiplies_lines(tmp_path: Path) -> None:
    path = tmp_path / 'grid.txt'
    path.write_text('# a comment\ngt.layers L [2,4]\noptim.base_lr lr [0.1,0.01]\n\ngt.dropout drop [0.5]\n')
    combinations = [{s.key: s.value for s in settings} for settings in read_grid(path)]
    assert combinations == [
        {'gt.layers': 2, 'optim.base_lr': 0.1},
        {'gt.layers': 2, 'optim.base_lr': 0.01},
        {'gt.layers': 4, 'optim.base_lr': 0.1},
        {'gt.layers': 4, 'optim.base_lr': 0.01},
        {'gt.dropout': 0.5},
    ]


@pytest.mark.parametrize(
    ('line', 'told'),
    [
        ('gt.layers [2,4]', 'needs 3 parts, got 2'),
        ('gt.layers L [2, 4]', 'needs 3 parts, got 4'),
        ('gt.layers L [2,4', r'list of numbers or quoted texts, got \[2,4'),
        ('gt.layers L 4', 'list with at least one value, got 4'),
        ('gt.layers ../x [2]', r'becomes a part of names of folders: letters and digits, got \.\./x'),
        ('gt.layers L [None]', 'numbers, texts or lists, got None'),
        ('gt.layers L [1e999]', 'gt.layers needs a finite number'),
        ('gt.layers L ' + '[' * 3000, 'list of numbers or quoted texts, got'),
    ],
)
def test_broken_grid_line_is_named_by_its_number(tmp_path: Path, line: str, told: str) -> None:
    path = tmp_path / 'grid.txt'
    path.write_text(f'# a comment\ngt.dropout drop [0.5]\n{line}\n')
    with pytest.raises(UserError, match=rf'line 3: .*\n.*{told}'):
        read_grid(path)


def test_grid_that_is_absent_empty_or_repeats_itself_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r'there is no grid file .*grid\.txt'):
        read_grid(tmp_path / 'grid.txt')
    path = tmp_path / 'grid.txt'
    path.write_text('# nothing\n')
    with pytest.raises(UserError, match='has no line of values'):
        read_grid(path)
    values = ','.join(map(str, range(20)))
    path.write_text('\n'.join(f'gt.layers a{i} [{values}]' for i in range(9)))
    with pytest.raises(UserError, match='needs at most 10000 combinations of values, got 512000000000'):
        read_grid(path)
    path.write_text(f'gt.layers L ["{"x" * 200}"]\n')
    with pytest.raises(UserError, match='makes names that are too long for folders'):
        read_grid(path)
    path.write_text('gt.layers L [2,2]\n')
    with pytest.raises(UserError, match='makes L=2 twice'):
        read_grid(path)


def test_grid_makes_an_estimator_for_each_value_that_the_stages_share(tmp_path: Path) -> None:
    _, second = fake_runs.write_pair(tmp_path)
    path = tmp_path / 'grid.txt'
    path.write_text('prep.exp_deg r [2,3]\nspex.layer_degrees K [[2,2],[5,5]]\n')
    configs = read_configs([second], (), read_grid(path))
    pairs = {str(c.name): str(c.estimator.name) for c in configs if c.estimator}
    assert pairs == {
        f'actor/Spexphormer-r={r}-K={k},{k}': f'actor/Spexphormer-estimator-r={r}'
        for r in (2, 3)
        for k in (2, 5)
    }
    assert [c.cfg.prep.exp_deg for c in configs[:2]] == [2, 3]


def test_grid_with_an_unknown_key_is_refused(tmp_path: Path) -> None:
    path = tmp_path / 'grid.txt'
    path.write_text('gt.layer L [2]\n')
    config = fake_runs.write_config(tmp_path / 'GCN/actor-GCN.yaml')
    with pytest.raises(UserError, match=r'gt\.layer is not a config key'):
        read_configs([config], (), read_grid(path))


def test_all_splits_are_those_of_the_data_set(tmp_path: Path) -> None:
    config = fake_runs.write_config(tmp_path / 'GCN/actor-GCN.yaml')
    assert [run.split for run in fake_runs.plan(config, splits='all')] == list(range(10))
    with pytest.raises(UserError, match=r'numbers below 10 for actor, got .0,10'):
        fake_runs.plan(config, splits='0,10')
    for text in ('zero', '1,1', '-1'):
        with pytest.raises(UserError, match=r'--splits needs'):
            fake_runs.plan(config, splits=text)


def test_random_splits_have_seeds_but_no_all(tmp_path: Path) -> None:
    config = fake_runs.write_config(tmp_path / 'GCN/grid-GCN.yaml', dataset=fake_runs.GRID)
    runs = fake_runs.plan(config, splits='7,8')
    assert [run.cfg(OUT).dataset.split_seed for run in runs] == [7, 8]
    with pytest.raises(UserError, match='--splits all needs fixed splits, but minesweeper has random ones'):
        fake_runs.plan(config, splits='all')


def test_splits_and_seeds_of_the_config_are_the_default(tmp_path: Path) -> None:
    own = {**fake_runs.ACTOR, 'split_index': 4}
    config = fake_runs.write_config(tmp_path / 'GCN/actor-GCN.yaml', dataset=own)
    runs = fake_runs.plan(config, overrides=('seed', '5'), repeat=2)
    assert names(runs) == ['actor/GCN/split-4-seed-5', 'actor/GCN/split-4-seed-6']
    runs = fake_runs.plan(config, overrides=('run_multiple_splits', '[1,2]'))
    assert names(runs) == ['actor/GCN/split-1-seed-0', 'actor/GCN/split-2-seed-0']


@pytest.mark.parametrize('splits', ['', '2,3'])
def test_main_resolves_what_was_planned(tmp_path: Path, splits: str) -> None:
    """Or finished runs would not be recognised."""
    _, second = fake_runs.write_pair(tmp_path)
    grid = tmp_path / 'grid.txt'
    grid.write_text('spex.layer_degrees K [[2,2]]\nprep.exp_deg r [4]\n')
    configs = read_configs([second], ('optim.base_lr', '0.5'), read_grid(grid))
    runs = plan_runs(configs, repeat=2, splits=splits)
    write_configs(runs, tmp_path)
    for run in runs:
        cfg = CfgNode()
        load_config(cfg, config_file(run.config, tmp_path), run.overrides(tmp_path))
        place = ('out_dir', 'run_dir', 'train.run_id')
        now, planned = flat_config(cfg), flat_config(run.cfg(tmp_path))
        assert {k: v for k, v in now.items() if k not in place} == {
            k: v for k, v in planned.items() if k not in place
        }
        assert Path(cfg.out_dir) / config_file(run.config, tmp_path).stem / cfg.train.run_id == run.folder(
            tmp_path
        )


def test_finished_runs_are_told_from_unfinished_ones_and_from_other_configs(tmp_path: Path) -> None:
    config = fake_runs.write_config(tmp_path / 'GCN/actor-GCN.yaml')
    runs = fake_runs.plan(config, repeat=3)
    fake_runs.finish(runs[0], tmp_path / 'out')
    (fake_runs.finish(runs[1], tmp_path / 'out') / 'summary.json').unlink()  # killed
    assert finished_runs(runs, tmp_path / 'out') == {str(runs[0])}
    changed = fake_runs.plan(config, overrides=('optim.base_lr', '0.5'), repeat=3)
    with pytest.raises(UserError, match=r'(?s)optim\.base_lr: 0\.01 there, 0\.5 now.*Nothing was started'):
        finished_runs(changed, tmp_path / 'out')
    anew = fake_runs.plan(config, overrides=('optim.base_lr', '0.5', 'train.overwrite', 'True'), repeat=3)
    assert finished_runs(anew, tmp_path / 'out') == set()


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(count=st.integers(1, 9), repeat=st.integers(1, 4))
def test_shards_part_the_runs_and_keep_estimators_with_their_users(
    shard_runs: dict[int, list], count: int, repeat: int
) -> None:
    runs = shard_runs[repeat]
    parts = [shard(runs, f'{number}/{count}') for number in range(1, count + 1)]
    assert sorted(name for part in parts for name in names(part)) == sorted(names(runs))
    for part in parts:
        assert names(part) == [name for name in names(runs) if name in names(part)]  # in order
        assert {str(run.estimator) for run in part if run.estimator} <= {*names(part)}


@pytest.fixture(scope='module')
def shard_runs(tmp_path_factory: pytest.TempPathFactory) -> dict[int, list]:
    folder = tmp_path_factory.mktemp('configs')
    fake_runs.write_pair(folder)
    fake_runs.write_config(folder / 'GCN/actor-GCN.yaml')
    return {repeat: fake_runs.plan(folder, repeat=repeat, splits='0,1') for repeat in (1, 2, 3, 4)}


def test_shards_of_single_runs_are_even(tmp_path: Path) -> None:
    runs = fake_runs.plan(fake_runs.write_config(tmp_path / 'GCN/actor-GCN.yaml'), repeat=7)
    assert sorted(len(shard(runs, f'{number}/3')) for number in (1, 2, 3)) == [2, 2, 3]


@pytest.mark.parametrize('text', ['0/2', '3/2', '1', '1/0', 'a/b', '-1/2', '1/2/3', ''])
def test_wrong_shard_is_refused(text: str) -> None:
    with pytest.raises(UserError, match=r'--shard needs i/n with i from 1 to n'):
        shard([], text)


def test_repeat_below_one_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match='--repeat needs to be at least 1, got 0'):
        fake_runs.plan(fake_runs.write_config(tmp_path / 'GCN/actor-GCN.yaml'), repeat=0)
