"""The transformer block that the tests of this folder look at."""

from __future__ import annotations

import torch

from graphgps_ext.layer.block import SparseTransformerBlock

WIDTH = 8


def block_of(**kwargs: object) -> SparseTransformerBlock:
    torch.manual_seed(0)
    return SparseTransformerBlock(WIDTH, 2, implementation='torch', **kwargs).double()
