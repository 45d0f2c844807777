"""Config groups: what graphgps_ext adds to GraphGym's `cfg`, one file per group, every key commented.

Importing this package registers the groups and applies them to GraphGym's live `cfg`, which was filled before
any plugin could register.
"""

from torch_geometric.graphgym.config import cfg
from torch_geometric.graphgym.register import config_dict

from graphgps_ext.config.dataset import dataset_config
from graphgps_ext.config.gt import gt_config
from graphgps_ext.config.posenc import posenc_config
from graphgps_ext.config.prep import prep_config
from graphgps_ext.config.spex import spex_config
from graphgps_ext.config.train import train_config

GROUPS = {
    'spex_ext_dataset': dataset_config,
    'spex_ext_train': train_config,
    'spex_ext_gt': gt_config,
    'spex_ext_posenc': posenc_config,
    'spex_ext_prep': prep_config,
    'spex_ext_spex': spex_config,
}

for _name, _group in GROUPS.items():
    if config_dict.setdefault(_name, _group) is _group:
        _group(cfg)
