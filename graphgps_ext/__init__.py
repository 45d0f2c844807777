"""Spexphormer for GraphGym: two-stage training of sparse graph transformers.

Importing this package registers everything into GraphGym and adds its config keys to GraphGym's live `cfg`.
A plugin that makes the same config groups (graphgps) has to be imported before it.
"""

import graphgps_ext.import_pyg  # noqa: I001  before all that imports PyG
import graphgps_ext.config
import graphgps_ext.encoder
import graphgps_ext.head
import graphgps_ext.layer.graphgym
import graphgps_ext.loader
import graphgps_ext.network
import graphgps_ext.optimizer
import graphgps_ext.train  # noqa: F401

__version__ = '0.2.0'
