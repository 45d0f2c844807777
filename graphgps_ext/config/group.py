"""A config group that other plugins may have made already."""

from yacs.config import CfgNode


def ensure_group(cfg: CfgNode, name: str) -> CfgNode:
    """The group `cfg.<name>`: created if absent, extended if another plugin (graphgps) made it first."""
    if name not in cfg:
        cfg[name] = CfgNode()
    return cfg[name]
