"""Inputs of a block, for the tests of this folder."""

from __future__ import annotations

import pytest
import torch
from blocks import WIDTH
from dense_attention import NUM_NODES, NUM_TYPES
from torch import Tensor


@pytest.fixture
def x() -> Tensor:
    return torch.randn(NUM_NODES, WIDTH, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


@pytest.fixture
def types() -> Tensor:
    return torch.randn(NUM_TYPES, WIDTH, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
