"""Drawn arguments of a draw, whose weights put logarithms, sums and the order of equal keys to the test."""

from __future__ import annotations

import os
from typing import Any

import hypothesis.strategies as st
import torch
from sampling_oracles import graph_of_rows

INTERPRETED = os.environ.get('TRITON_INTERPRET') == '1'
ON_GPU = torch.cuda.is_available() and not INTERPRETED


@st.composite
def draw_cases(draw: st.DrawFn, max_length: int, max_degree: int) -> tuple[Any, ...]:
    """graph, weights, degree, strategy, fill, key and nodes, as the implementations take them."""
    lengths = draw(st.lists(st.integers(0, max_length), min_size=1, max_size=12))
    graph = graph_of_rows([range(length) for length in lengths], num_sources=max_length)
    levels = torch.tensor([0.0, 1e-40, 1e-6, 0.1, 0.1, 0.5, 1.0, 3e38])
    generator = torch.Generator().manual_seed(draw(st.integers(0, 99)))
    weights = levels[torch.randint(0, 8, (graph.num_edges,), generator=generator)]
    degree = draw(st.integers(1, max_degree))
    strategy = draw(st.sampled_from(['weighted', 'uniform', 'top']))
    fill = draw(st.sampled_from(['mask', 'repeat']))
    key = draw(st.integers(0, 2**64 - 1))
    nodes = draw(st.none() | st.lists(st.integers(0, len(lengths) - 1), max_size=5))
    rows = None if nodes is None else torch.tensor(nodes, dtype=torch.int64)
    return graph, None if strategy == 'uniform' else weights, degree, strategy, fill, key, rows
