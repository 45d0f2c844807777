"""Config groups: what graphgps_ext adds to GraphGym's `cfg`, one file per group.

Default, meaning and allowed values of a key stand together (:class:`graphgps_ext.config.key.Key`). Importing
this package registers the groups and applies them to GraphGym's live `cfg`, which was filled before any
plugin could register.
"""

from torch_geometric.graphgym.config import cfg
from torch_geometric.graphgym.register import config_dict

from graphgps_ext.config import dataset, gt, posenc, prep, spex, train
from graphgps_ext.config.key import Group

GROUPS = {
    f'spex_ext_{module.__name__.rpartition(".")[2]}': Group(module.__doc__ or '', module.KEYS)
    for module in (dataset, train, gt, posenc, prep, spex)
}
KEYS = {name: key for group in GROUPS.values() for name, key in group.keys.items()}

for _name, _group in GROUPS.items():
    if config_dict.setdefault(_name, _group) is _group:
        _group(cfg)
