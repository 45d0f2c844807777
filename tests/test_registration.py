"""Importing the package makes every name and key available, also to GraphGym's stock main."""

from __future__ import annotations

import importlib
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import torch
from torch_geometric.graphgym import register
from torch_geometric.graphgym.config import cfg, set_cfg
from yacs.config import CfgNode

import graphgps_ext
from graphgps_ext.config import KEYS

NAMES = {
    'config': [f'spex_ext_{group}' for group in ('dataset', 'train', 'gt', 'posenc', 'prep', 'spex')],
    'edge_encoder': ['spex_expander_edge'],
    'head': ['spex_attention_scores', 'spex_seed_node'],
    'layer': ['spex_estimator', 'spex_exphormer', 'spexphormer'],
    'loader': ['spex_loader'],
    'network': [
        *(f'pyg_{name}' for name in ('gatv2', 'gcn', 'gps', 'graphsage', 'linkx', 'mlp', 'polynormer')),
        *('pyg_residual_gcn', 'pyg_sgformer', 'spex_estimator', 'spex_exphormer', 'spexphormer'),
    ],
    'node_encoder': ['spex_linear_node'],
    'optimizer': ['adamW'],
    'scheduler': ['cosine_with_warmup'],
    'train': ['full_graph', 'spexphormer', 'spexphormer_estimator'],
}


def test_these_names_are_registered_and_no_others() -> None:
    found = {}
    for registry, content in vars(register).items():
        if registry.endswith('_dict') and isinstance(content, dict):
            ours = {n for n, thing in content.items() if thing.__module__.startswith('graphgps_ext')}
            found |= {registry.removesuffix('_dict'): ours} if ours else {}
    assert found == {registry: {*names} for registry, names in NAMES.items()}
    assert {*KEYS['train.mode'].choices} == {*NAMES['train']}


def test_importing_again_changes_nothing(graphgym_cfg: CfgNode) -> None:
    graphgym_cfg.gt.layers = 7
    importlib.reload(graphgps_ext)
    assert graphgym_cfg.gt.layers == 7


def test_keys_survive_a_fresh_start_of_the_config(graphgym_cfg: CfgNode) -> None:
    graphgym_cfg.gt.layers = 7
    set_cfg(cfg)  # what GraphGym's stock main begins with
    assert graphgym_cfg.gt.layers == 4 and graphgym_cfg.spex.strategy == 'weighted'


def test_groups_and_names_of_a_plugin_imported_before_are_kept() -> None:
    """In a process of its own: another plugin has made `cfg.gt` and registered the generic names."""
    program = """
        from torch_geometric.graphgym import register
        from torch_geometric.graphgym.config import cfg, set_cfg
        from yacs.config import CfgNode

        @register.register_config('cfg_gt')
        def set_cfg_gt(cfg):
            cfg.gt = CfgNode()
            cfg.gt.layer_type = 'SANLayer'
            cfg.gt.layers = 3

        set_cfg(cfg)
        theirs = lambda *args: None
        register.register_optimizer('adamW', theirs)
        register.register_scheduler('cosine_with_warmup', theirs)

        import graphgps_ext
        for fresh in (False, True):
            if fresh:
                set_cfg(cfg)
            assert cfg.gt.layer_type == 'SANLayer', cfg.gt
            assert cfg.gt.n_heads == 4 and cfg.spex.strategy == 'weighted' and cfg.prep.exp_deg == 15
        assert register.optimizer_dict['adamW'] is theirs
        assert register.scheduler_dict['cosine_with_warmup'] is theirs
    """
    done = subprocess.run([sys.executable, '-c', textwrap.dedent(program)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.filterwarnings('ignore')  # of GraphGym's own training and Lightning's advice on it
def test_stock_main_trains_our_network(
    graphgym_cfg: CfgNode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from torch_geometric.graphgym import create_loader, create_model
    from torch_geometric.graphgym.train import GraphGymDataModule, train

    monkeypatch.chdir(tmp_path)
    c = graphgym_cfg
    c.out_dir = c.run_dir = str(tmp_path)
    c.accelerator, c.num_threads = 'cpu', 1
    c.dataset.format, c.dataset.name, c.dataset.grid_side = 'grid', 'minesweeper', 8
    c.dataset.task, c.dataset.split_mode = 'node', 'random'
    c.dataset.node_encoder, c.dataset.node_encoder_name = True, 'spex_linear_node'
    c.dataset.edge_encoder, c.dataset.edge_encoder_name = True, 'spex_expander_edge'
    c.dataset.node_encoder_bn = c.dataset.edge_encoder_bn = False
    c.prep.exp_deg = 2
    c.model.type, c.gnn.head = 'spex_exphormer', 'node'
    c.gt.layers, c.gt.dim_hidden, c.gnn.dim_inner, c.gt.n_heads = 2, 8, 8, 2
    c.optim.optimizer, c.optim.scheduler, c.optim.max_epoch = 'adamW', 'cosine_with_warmup', 1
    loaders = create_loader()
    assert len(loaders) == 3 and (c.share.dim_in, c.share.dim_out) == (7, 2)
    model = create_model()
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    quiet = {'enable_progress_bar': False, 'enable_model_summary': False, 'logger': False}
    train(model, GraphGymDataModule(), logger=False, trainer_config=quiet)
    moved = [name for name, p in model.named_parameters() if not torch.equal(p, before[name])]
    assert any('layers.1.attention' in name for name in moved)
