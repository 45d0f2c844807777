"""Imports PyG and its GraphGym, before anything else does.

Without touching a GPU: a process that has done so could not be forked into ones that use it. PyG asks torch
for its build settings, to know whether they say `USE_MKL=OFF`; a CUDA build of torch wakes the driver to list
them all. And without advice to install PyTorch Lightning: GraphGym's own training loop needs it, this
package's loop stands on Lightning Fabric alone, which is imported in a fraction of the time.
"""

import warnings
from unittest.mock import patch

import torch

_SETTINGS = '' if torch.backends.mkl.is_available() else 'USE_MKL=OFF'

with patch('torch.__config__.show', lambda: _SETTINGS), warnings.catch_warnings():
    warnings.filterwarnings('ignore', message='To use GraphGym, install')
    import torch_geometric.graphgym  # noqa: F401
