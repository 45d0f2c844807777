"""The line on keys that a run does not read: true, on one line, and quiet when everything is read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import runs
import yaml
from torch_geometric.graphgym.config import cfg, set_cfg
from torch_geometric.graphgym.models.layer import MLP, GeneralLayer, new_layer_config
from yacs.config import CfgNode

from graphgps_ext.config import unread
from graphgps_ext.config.check import limits_of
from graphgps_ext.config.load import load_config

START = 'set, but not read by this run: '
QUICK = {'optim.max_epoch': 2, 'optim.num_warmup_epochs': 0, 'dataset.grid_side': 12}
# Keys that one model or another does not read; with another value than the config's.
SOME = {
    'gnn.dropout': 0.9, 'train.ckpt_clean': True, 'dataset.transductive': False, 'gnn.layers_mp': 3,
    'gnn.att_heads': 2, 'gt.beta': 0.5, 'gt.graph_weight': 0.25, 'optim.momentum': 0.5, 'optim.steps': [1],
    'bn.eps': 0.5, 'prep.exp': False, 'prep.exp_seed': 3, 'dataset.split_index': 3,
    'dataset.path': 'x.npz', 'posenc_RWSE.walk_length': 3, 'spex.layer_degrees': [2], 'spex.fill': 'repeat',
    'spex.temperature_decay': 0.5, 'spex.temperature_min': 0.5, 'train.batch_size': 7, 'num_workers': 1,
    'optim.clip_grad_norm': False, 'optim.clip_grad_norm_value': 0.5, 'metric_agg': 'argmin', 'round': 5,
    'train.overwrite': True, 'seed': 3, 'spex.strategy': 'uniform', 'model.thresh': 0.9,
}  # fmt: skip


def line(result: Path) -> list[str]:
    """The keys that the log of a run names; none without such a line."""
    (log,) = result.rglob('logging.log')
    lines = [text for text in log.read_text().splitlines() if text.startswith(START)]
    assert len(lines) <= 1
    return lines[0].removeprefix(START).split(', ') if lines else []


@pytest.mark.parametrize('stage', ['Exphormer', 'GCN', 'Polynormer', 'estimator', 'spexphormer'])
def test_what_the_line_names_changes_nothing_and_is_not_read_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stage: str
) -> None:
    recorded: list[unread.Reads] = []
    watch = unread._watch
    monkeypatch.setattr(
        unread, '_watch', lambda c, reads, *rest: (recorded.append(reads), watch(c, reads, *rest))
    )
    result = runs.run(stage, tmp_path / 'all', {**QUICK, **SOME})
    named = line(result)
    assert {'train.ckpt_clean', 'dataset.transductive', 'optim.momentum', 'prep.exp_seed'} <= {*named}
    assert {'seed', 'prep.exp', 'out_dir', 'optim.max_epoch', 'train.overwrite', 'round'}.isdisjoint(named)
    # Those that are handed over whatever the other keys are: `when`, or the run's own value for them.
    handed_over = {key for key in named if limits_of(key).when} | recorded[0].lost
    assert ({*named} - handed_over).isdisjoint(recorded[0].read)

    fewer = {key: value for key, value in SOME.items() if key not in named}
    again = runs.run(stage, tmp_path / 'fewer', {**QUICK, **fewer})
    assert runs.result(next(again.glob('[0-9]*'))) == runs.result(next(result.glob('[0-9]*')))
    assert not {*line(again)} & fewer.keys()


@pytest.mark.parametrize('stage', ['Exphormer', 'estimator', *runs.PEERS])
def test_shipped_configs_set_no_key_that_is_not_read(tmp_path: Path, stage: str) -> None:
    tree: dict[str, Any] = yaml.safe_load(runs.CONFIGS[stage].read_text())
    tree['dataset']['grid_side'], tree['optim']['max_epoch'], tree['print'] = 12, 2, 'file'
    tree['accelerator'], tree['num_threads'] = 'cpu', 1
    config = tmp_path / runs.CONFIGS[stage].name
    config.write_text(yaml.safe_dump(tree))
    with runs.as_if_alone():
        runs.main(['train', '--cfg', str(config), 'out_dir', str(tmp_path / 'results')])
    assert line(tmp_path / 'results') == []


def test_file_may_repeat_defaults_and_a_command_line_may_not(graphgym_cfg: CfgNode, tmp_path: Path) -> None:
    path = tmp_path / 'some.yaml'
    path.write_text(
        'dataset: {format: grid}\nmodel: {type: spex_exphormer}\ngnn: {dim_inner: 32, dropout: 0.0}'
    )
    asked = load_config(graphgym_cfg, path, ['train.ckpt_clean', 'True'])
    assert asked == {'dataset.format', 'model.type', 'gnn.dim_inner', 'train.ckpt_clean'}


def test_keys_of_layers_count_where_there_is_such_a_layer(graphgym_cfg: CfgNode) -> None:
    for num_layers, expected in ((1, ['gnn.dropout']), (2, [])):
        with unread.watching(cfg, {'gnn.dropout'}) as reads:
            head = MLP(new_layer_config(4, 2, num_layers, has_act=False, has_bias=True, cfg=cfg))
        assert any(isinstance(module, GeneralLayer) for module in head.modules()) == (num_layers == 2)
        assert unread.unread(cfg, reads, head) == expected
    assert type(cfg) is type(cfg.gnn) is CfgNode and not cfg.__dict__.keys() & {'reads', 'prefix'}


def test_watched_config_is_the_same_config(graphgym_cfg: CfgNode) -> None:
    plain = CfgNode()
    set_cfg(plain)
    with unread.watching(cfg, set()) as reads:
        assert cfg == plain and cfg.dump() == plain.dump() and cfg.clone() == plain
        assert not reads.read
        cfg.share.dim_in = 7
        assert cfg.gt.layers == cfg['gt']['layers'] and reads.lost == {'share.dim_in'}
    assert reads.read == {'share', 'gt', 'gt.layers'}
