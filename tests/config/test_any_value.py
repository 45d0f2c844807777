"""Whatever a file or a command line gives to a key is accepted, or refused by a message that names it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from torch_geometric.graphgym.config import set_cfg
from yacs.config import CfgNode

import graphgps_ext  # noqa: F401
from graphgps_ext.benchmark.grid import read_grid
from graphgps_ext.config.load import load_config
from graphgps_ext.config.tree import flatten, get, put, read_yaml
from graphgps_ext.errors import ConfigError

BASE = {'dataset': {'format': 'grid'}, 'model': {'type': 'spex_exphormer'}, 'gnn': {'dim_inner': 32}}


def all_keys() -> dict[str, Any]:
    cfg = CfgNode()
    set_cfg(cfg)
    return dict(flatten(cfg))


DEFAULTS = all_keys()
NUMBERS = st.one_of(
    st.integers(-3, 5),
    st.sampled_from([2**31, 2**32, 2**63, 10**12, 10**4000, -(10**30)]),
    st.floats(),
    st.sampled_from([-0.0, 1e-320, 1e308]),
)
TEXTS = st.one_of(
    st.text(max_size=8),
    st.sampled_from(
        ['', ' ', '~nobody-here/x', '../../x', '.hidden', 'a\nb', 'x' * 5000, '\udcff', '[' * 500]
    ),
)
SCALARS = st.one_of(st.none(), st.booleans(), NUMBERS, TEXTS, st.dates(), st.binary(max_size=3))
VALUES = st.one_of(
    SCALARS, st.lists(SCALARS, max_size=3), st.dictionaries(st.text(max_size=2), SCALARS, max_size=2)
)
FEW = settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


def accepted(path: Path, key: str, overrides: tuple[str, ...] = ()) -> CfgNode | None:
    """The config; None where it is refused by the name of the key."""
    cfg = CfgNode()
    try:
        load_config(cfg, path, overrides)
    except ConfigError as error:
        assert key in str(error) or 'is not valid YAML' in str(error), error
        assert len(str(error)) < 5000
        return None
    return cfg


@FEW
@given(key=st.sampled_from(sorted(DEFAULTS)), value=VALUES)
@example(key='gt.dim_hidden', value=10**9)
@example(key='dataset.split', value=['a', 'b', 'c'])
@example(key='optim.base_lr', value=float('nan'))
def test_value_in_a_file(tmp_path: Path, key: str, value: Any) -> None:
    tree: dict[str, Any] = {}
    for name, content in [*flatten(BASE), (key, value)]:
        put(tree, name, content)
    path = tmp_path / 'some.yaml'
    path.write_text(yaml.safe_dump(tree), encoding='utf-8', errors='surrogatepass')
    cfg = accepted(path, key)
    if cfg is not None and not isinstance(value, dict):
        assert type(get(cfg, key)) is type(DEFAULTS[key])


@FEW
@given(key=st.sampled_from(sorted(DEFAULTS)), value=st.one_of(TEXTS, VALUES.map(repr)))
@example(key='seed', value='9' * 5000)
@example(key='gt.layers', value='(' * 5000)
@example(key='gt.layers', value='{[]: 1}')
@example(key='gt.layers', value='"\\d"')
def test_value_on_a_command_line(tmp_path: Path, key: str, value: str) -> None:
    path = tmp_path / 'some.yaml'
    path.write_text(yaml.safe_dump(BASE))
    accepted(path, key, (key, value))


@FEW
@given(content=st.one_of(st.binary(max_size=40), st.text('abc:{}[]&*<!?-,#\n\t "\'|>%@', max_size=40)))
def test_any_file(tmp_path: Path, content: bytes | str) -> None:
    path = tmp_path / 'some.yaml'
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    for read in (read_yaml, read_grid):
        try:
            read(path)
        except ConfigError as error:
            assert 'some.yaml' in str(error)


@pytest.mark.parametrize(
    ('key', 'text', 'needs'),
    [
        ('accelerator', 'cuda:0', "one of auto, cpu, cuda, gpu, mps, got 'cuda:0' (CUDA_VISIBLE_DEVICES"),
        ('devices', '-1', 'at least 1, got -1'),
        ('devices', '[0, 1]', 'int, got list [0, 1]'),
        ('seed', '4294967296', 'at most 4294967295, got 4294967296'),
        ('train.precision', 'fp16', 'one of 32-true, bf16-mixed, 16-mixed, 64-true'),
        ('model.loss_fun', 'focal', "one of cross_entropy, got 'focal'"),
        ('model.loss_fun', 'mse', "one of cross_entropy, got 'mse'"),
        ('model.size_average', 'sum', "one of mean, got 'sum'"),
        ('gnn.head', 'graph', 'one of node, spex_seed_node, got graph, which is for other tasks or data'),
        ('dataset.split', 'half', "list, got str 'half'"),
        ('dataset.split', '["a", "b", "c"]', "numbers, got ['a', 'b', 'c']"),
        ('dataset.split', '[0.5, 0.5]', 'three positive ratios (train, val, test) that sum to 1'),
        ('dataset.split', '[0.5, 0.25, float]', 'list, got str'),
        ('train.run_id', '../../x', 'the name of a folder, without / or \\ and not beginning with a dot'),
        ('train.run_id', ' ', 'the name of a folder'),
        ('train.run_id', '.x', 'the name of a folder'),
        ('train.run_id', 'agg', 'to be another name than agg'),
        ('train.run_id', 'a\nb', 'a text of at most 4096 printable signs'),
        ('dataset.name', 'a/b', 'the name of a folder'),
        ('out_dir', 'x' * 300, 'a path whose parts have at most 255 bytes each'),
        ('out_dir', '~nobody-here/x', 'no home folder'),
        ('optim.base_lr', '0.0', 'to lie in (0, 1e+30], got 0.0'),
        ('optim.base_lr', '1e999', 'to lie in (0, 1e+30], got inf'),
        ('optim.weight_decay', '-0.1', 'at least 0, got -0.1'),
        ('optim.clip_grad_norm_value', '0.0', 'to be above 0, got 0.0'),
        ('optim.momentum', '1.0', 'to lie in [0, 1), got 1.0'),
        ('optim.steps', '[30, True]', 'whole numbers from 1 up, got [30, True]'),
        ('optim.max_epoch', '1000000000000', 'at most 1000000, got 1000000000000'),
        ('dataset.grid_side', '1000000000', 'at most 5000, got 1000000000'),
        ('prep.exp_deg', '1000000000', 'at most 1000, got 1000000000'),
        ('spex.layer_degrees', '[1000000000]', 'items of at most 10000, got [1000000000]'),
        ('num_workers', '1000000', 'at most 1024, got 1000000'),
        ('gt.layers', 'True', 'int, got bool True'),
        ('print', 'screen', 'one of both, file, stdout'),
    ],
)
def test_value_that_cannot_be_meant(tmp_path: Path, key: str, text: str, needs: str) -> None:
    path = tmp_path / 'some.yaml'
    path.write_text(yaml.safe_dump({**BASE, 'dataset': {'format': 'grid', 'split_mode': 'random'}}))
    with pytest.raises(ConfigError) as caught:
        load_config(CfgNode(), path, [key, text])
    assert key in str(caught.value) and needs in str(caught.value)


def test_all_values_are_named_at_once_with_unknown_keys(tmp_path: Path) -> None:
    path = tmp_path / 'some.yaml'
    path.write_text('gt: {layer: 3, layers: 0}\ngt.dropout: 0.5\nseed: -1')
    with pytest.raises(ConfigError) as caught:
        load_config(CfgNode(), path, ['gt.layers', 'x'])
    assert str(caught.value).splitlines()[1:] == [
        '  - gt.layer is not a config key; the nearest is gt.layers',
        "  - gt.layers needs int, got str 'x'",
        '  - gt.layers needs at least 1, got 0',
        '  - seed needs at least 0, got -1',
    ]


def test_key_in_its_group_and_with_dots_stands_twice(tmp_path: Path) -> None:
    path = tmp_path / 'some.yaml'
    path.write_text('gt: {layers: 3}\ngt.layers: 4')
    with pytest.raises(ConfigError, match=r'gt\.layers stands twice, in its group'):
        load_config(CfgNode(), path)


def test_paths_begin_at_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('HOME', str(tmp_path))
    path = tmp_path / 'some.yaml'
    path.write_text(yaml.safe_dump({**BASE, 'out_dir': '~/results'}))
    cfg = CfgNode()
    keys = ('dataset.dir', 'dataset.path', 'spex.estimator')
    load_config(cfg, path, [word for key in keys for word in (key, '~/x')])
    assert cfg.out_dir == f'{tmp_path}/results'
    assert {get(cfg, key) for key in keys} == {f'{tmp_path}/x'}
    load_config(cfg, path, ['spex.estimator', 'a-name'])
    assert cfg.spex.estimator == 'a-name'
