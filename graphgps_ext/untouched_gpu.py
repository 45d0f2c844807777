"""Imports PyG without touching a GPU: a process that has done so could not be forked into ones that use it.

PyG asks torch for its build settings, to know whether they say `USE_MKL=OFF`; a CUDA build of torch wakes the
driver to list them all.
"""

from unittest.mock import patch

import torch

_SETTINGS = '' if torch.backends.mkl.is_available() else 'USE_MKL=OFF'

with patch('torch.__config__.show', lambda: _SETTINGS):
    import torch_geometric.typing  # noqa: F401
