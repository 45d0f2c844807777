"""Loading of a config: what overrides what, and a clear message for each thing that can be wrong with it."""

from __future__ import annotations

from pathlib import Path

import pytest
from torch_geometric.graphgym.register import config_dict
from yacs.config import CfgNode

from graphgps_ext.config import GROUPS
from graphgps_ext.config.load import load_config
from graphgps_ext.config.tree import flatten, put, read_yaml
from graphgps_ext.errors import ConfigError

VALID = """
dataset:
  format: grid
  task: node
  split_mode: random
gnn:
  head: node
"""


@pytest.fixture
def load(graphgym_cfg: CfgNode, tmp_path: Path):
    """Loads a text as a config file."""

    def load(text: str, *overrides: str) -> CfgNode:
        path = tmp_path / 'some.yaml'
        path.write_text(text)
        load_config(graphgym_cfg, path, overrides)
        return graphgym_cfg

    return load


def test_overrides_come_after_the_file_and_the_file_after_the_defaults(load) -> None:
    cfg = load(VALID + 'gt: {layers: 3, dropout: 0.5}', 'gt.layers', '6', 'spex.layer_degrees', '[4, 3]')
    assert (cfg.gt.layers, cfg.gt.dropout, cfg.gt.n_heads) == (6, 0.5, 4)
    assert cfg.spex.layer_degrees == [4, 3] and cfg.dataset.format == 'grid'


def test_loading_again_starts_from_the_defaults(load) -> None:
    load(VALID, 'gt.layers', '6')
    assert load(VALID).gt.layers == 4


def test_texts_that_look_like_something_else_stay_texts(load) -> None:
    cfg = load(VALID + 'out_dir: "2024"', 'dataset.name', '123', 'dataset.dir', '[x]')
    assert (cfg.out_dir, cfg.dataset.name, cfg.dataset.dir) == ('2024', '123', '[x]')


def test_tuples_become_lists(load) -> None:
    assert load(VALID, 'dataset.split', '(0.6, 0.2, 0.2)').dataset.split == [0.6, 0.2, 0.2]


def test_group_without_keys_and_empty_file_change_nothing(load) -> None:
    assert load(VALID + 'spex:\n  # layer_degrees: [2]\n').spex.layer_degrees == []
    assert load('# nothing\n', 'dataset.task', 'node').gt.layers == 4


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('gt: {n_head: 3}', 'gt.n_head is not a config key; the nearest is gt.n_heads'),
        (
            'spex: {layer_degree: [3]}',
            'spex.layer_degree is not a config key; the nearest is spex.layer_degrees',
        ),
        ('spx: {strategy: top}', 'spx.strategy is not a config key; the nearest is spex.strategy'),
        ('gt: {layers: {number: 3}}', 'gt.layers.number is not a config key; the nearest is gt.layers'),
        ('gt: 3', 'gt is not a config key'),
        ('1: 3', '1 is not a config key'),
        ('gt: {dropout: 0}', r'gt.dropout needs float, got int 0 \(write 0.0\)'),
        ('optim: {weight_decay: 1e-3}', r"weight_decay needs float, got str '1e-3' \(write 0.001\)"),
        ('optim: {weight_decay: none}', "optim.weight_decay needs float, got str 'none'$"),
        ('gt: {layers: 2.0}', r'gt.layers needs int, got float 2.0$'),
        ('gt: {layers: }', 'gt.layers needs int, got nothing$'),
        ('gt: {residual: 1}', 'gt.residual needs bool, got int 1$'),
        ('seed: true', 'seed needs int, got bool True$'),
        ('spex: {layer_degrees: 3}', 'spex.layer_degrees needs list, got int 3$'),
        ('dataset: {name: 3}', 'dataset.name needs str, got int 3$'),
    ],
)
def test_wrong_key_or_type_in_the_file_is_named(load, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=rf'some.yaml cannot be loaded:\n  - .*{message}'):
        load(text)


@pytest.mark.parametrize(
    ('overrides', 'message'),
    [
        (['gt.n_head', '3'], 'gt.n_head is not a config key; the nearest is gt.n_heads'),
        (['gt.dropout', '1'], r'gt.dropout needs float, got int 1 \(write 1.0\)'),
        (['gt.residual', 'yes'], "gt.residual needs bool, got str 'yes'"),
        (['gt.layers'], 'overrides need pairs of key and value, got gt.layers$'),
        (['gt.layers', '3', 'seed'], 'overrides need pairs of key and value, got gt.layers 3 seed$'),
        (['share.dim_in', '7'], 'share.dim_in is computed from the data and cannot be set'),
        (['gt.layers', '3', '--repeat', '2'], '--repeat has to stand before the overrides'),
    ],
)
def test_wrong_override_is_named(load, overrides: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load(VALID, *overrides)


def test_all_wrong_keys_are_named_at_once(load) -> None:
    with pytest.raises(ConfigError) as caught:
        load('gt: {n_head: 3, layers: 2.5}\nspexx: {fill: mask}', 'seed', '0.5')
    assert str(caught.value).splitlines()[1:] == [
        '  - gt.n_head is not a config key; the nearest is gt.n_heads',
        '  - gt.layers needs int, got float 2.5',
        '  - spexx.fill is not a config key; the nearest is spex.fill',
        '  - seed needs int, got float 0.5',
    ]


def test_missing_file_is_named(graphgym_cfg: CfgNode, tmp_path: Path) -> None:
    for path in (tmp_path / 'absent.yaml', tmp_path):
        with pytest.raises(ConfigError, match=rf'there is no config file {path} \(--cfg\)'):
            load_config(graphgym_cfg, path)


@pytest.mark.parametrize('text', ['gt: [1, 2', 'gt:\n\tlayers: 3', 'a: b: c'])
def test_broken_yaml_is_named_with_its_line(load, text: str) -> None:
    with pytest.raises(ConfigError, match=r'some.yaml is not valid YAML: (.|\n)*line \d'):
        load(text)


@pytest.mark.parametrize(
    ('text', 'problem'),
    [
        ('gt:\n  layers: 3\n  dropout: 0.5\n  layers: 4', 'layers stands in line 2 and again in line 4'),
        ('gt: {layers: 3}\nspex: {}\n"gt": {n_heads: 2}', 'gt stands in line 1 and again in line 3'),
    ],
)
def test_key_that_stands_twice_is_refused(load, text: str, problem: str) -> None:
    with pytest.raises(ConfigError, match=f'some.yaml is not valid YAML: {problem}$'):
        load(text)


def test_key_of_a_merged_group_may_be_set_again(tmp_path: Path) -> None:
    path = tmp_path / 'some.yaml'
    path.write_text('a: {b: &b {x: 1, y: 2}}\nc: {<<: *b, x: 3}\n')
    assert read_yaml(path)['c'] == {'x': 3, 'y': 2}


def test_a_tree_is_flattened_and_put_together_again() -> None:
    tree = {'a': {'b': {'c': 1}, 'd': [2]}, 'e': 'f'}
    flat = dict(flatten(tree))
    assert flat == {'a.b.c': 1, 'a.d': [2], 'e': 'f'}
    again: dict = {'a': None}  # a group all of whose keys are commented out
    for key, value in flat.items():
        put(again, key, value)
    assert again == tree


@pytest.mark.parametrize(('text', 'kind'), [('- 1\n- 2', 'list'), ('layers', 'str')])
def test_yaml_without_groups_is_refused(load, text: str, kind: str) -> None:
    with pytest.raises(ConfigError, match=f'some.yaml needs groups of keys, got {kind}'):
        load(text)


def test_problems_across_keys_are_found_after_loading(load) -> None:
    with pytest.raises(
        ConfigError, match=r'gt.dim_hidden needs to be a multiple of gt.n_heads, got 32 and 5'
    ):
        load(VALID, 'gt.n_heads', '5')


# --- other plugins ---


def test_group_made_by_a_plugin_before_ours_is_extended() -> None:
    cfg = CfgNode({'gt': {'layer_type': 'SANLayer', 'layers': 3}})
    GROUPS['spex_ext_gt'](cfg)
    assert cfg.gt.layer_type == 'SANLayer' and cfg.gt.n_heads == 4


def test_plugin_imported_after_ours_that_resets_a_group_is_detected(
    load, monkeypatch: pytest.MonkeyPatch
) -> None:
    def set_cfg_gt(cfg: CfgNode) -> None:
        cfg.gt = CfgNode({'layer_type': 'SANLayer', 'layers': 3})

    load(VALID)
    monkeypatch.setitem(config_dict, 'cfg_gt', set_cfg_gt)  # comes last
    with pytest.raises(ConfigError) as caught:
        load(VALID)
    message = str(caught.value)
    assert 'gt.n_heads' in message and 'gt.layers' not in message
    assert message.endswith('import that plugin (graphgps) before graphgps_ext')


def test_plugin_imported_before_ours_that_makes_a_group_is_accepted(
    load, monkeypatch: pytest.MonkeyPatch
) -> None:
    def set_cfg_gt(cfg: CfgNode) -> None:
        cfg.gt = CfgNode({'layer_type': 'SANLayer', 'layers': 3})

    ours = {name: config_dict[name] for name in GROUPS}
    for name in ours:
        monkeypatch.delitem(config_dict, name)
    monkeypatch.setitem(config_dict, 'cfg_gt', set_cfg_gt)
    for name, group in ours.items():
        monkeypatch.setitem(config_dict, name, group)
    cfg = load(VALID)
    assert cfg.gt.layer_type == 'SANLayer' and (cfg.gt.layers, cfg.gt.n_heads) == (4, 4)
