"""What TensorBoard gets beside curves."""

from __future__ import annotations

from pathlib import Path

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData
from yacs.config import CfgNode

from graphgps_ext.train.board import Board


def test_run_lists_its_own_keys_and_leaves_the_comparison_to_tensorboard(
    tmp_path: Path, graphgym_cfg: CfgNode
) -> None:
    graphgym_cfg.seed = 3
    board = Board(tmp_path)
    board.log_config(graphgym_cfg, params=17)
    board.log_result({'seed': 3, 'gt.layers': 4, 'spex.layer_degrees': [2, 1]}, {'best/test_auc': 0.75})
    board.close()

    events = EventAccumulator(str(tmp_path)).Reload()
    assert b'seed: 3' in events.Tensors('config/text_summary')[0].tensor_proto.string_val[0]
    assert [events.Scalars(tag)[0].value for tag in ('params', 'best/test_auc')] == [17, 0.75]
    assert '_hparams_/experiment' not in events.summary_metadata
    assert '_hparams_/session_end_info' in events.summary_metadata
    start = events.summary_metadata['_hparams_/session_start_info'].plugin_data.content
    keys = HParamsPluginData.FromString(start).session_start_info.hparams
    assert (keys['seed'].number_value, keys['spex.layer_degrees'].string_value) == (3, '[2, 1]')
