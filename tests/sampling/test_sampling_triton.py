"""The Triton kernels of the draw: on a GPU where there is one, else in Triton's interpreter.

The interpreter is chosen when a kernel is defined, so a run without a GPU repeats these tests, and those of
all implementations, in a process that has TRITON_INTERPRET set.
"""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from draw_cases import INTERPRETED, ON_GPU, draw_cases
from hypothesis import HealthCheck, given, settings
from sampling_oracles import draw_oracle, graph_of_rows, random_graph

from graphgps_ext.graph import InNeighbors
from graphgps_ext.sampling import signed, stream_key


@pytest.mark.slow
@pytest.mark.skipif(ON_GPU or INTERPRETED, reason='the kernels run in this process')
@pytest.mark.skipif(find_spec('triton') is None, reason='needs triton')
def test_triton_draws_pass_in_the_interpreter() -> None:
    files = ('test_sampling_triton.py', 'test_sample_neighbors.py', 'test_draw_statistics.py')
    paths = [str(Path(__file__).parent / name) for name in files]
    done = subprocess.run(
        [sys.executable, '-m', 'pytest', '-q', '-x', '-p', 'no:cacheprovider', '-k', 'triton', *paths],
        env={**os.environ, 'TRITON_INTERPRET': '1'},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def same(first: tuple[torch.Tensor, ...], second: tuple[torch.Tensor, ...]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(case=draw_cases(max_length=70, max_degree=9))
def test_the_kernels_draw_the_edges_of_a_sort(draw_triton: Any, case: tuple[Any, ...]) -> None:
    """In one tile, and in many that read 16 edges in a step, the longest rows by themselves."""
    expected = draw_oracle(*case)
    assert same(draw_triton(*case), expected)
    assert same(draw_triton(*case, tile=16, hub=64), expected)


@pytest.mark.parametrize('strategy', ['weighted', 'top'])
def test_rows_of_more_edges_than_the_bits_for_a_place_can_count(draw_triton: Any, strategy: str) -> None:
    """Equal keys at both ends of a row of over 2²² edges: the earlier edge comes first."""
    length = 2**22 + 1000
    long = 2**20 if INTERPRETED else None  # a few steps there; a GPU takes its own
    graph = InNeighbors(
        torch.tensor([0, length]),
        torch.arange(length, dtype=torch.int32),
        torch.zeros(length, dtype=torch.int8),
        length,
    )
    weights = torch.zeros(length)
    weights[[5, 7, length - 3, length - 1]] = torch.tensor([1.0, 2.0, 2.0, 4.0])
    edges = draw_triton(graph, weights, 2, strategy, 'mask', 3, None, hub=long)[2]
    if strategy == 'top':
        assert edges.tolist() == [[7, length - 1]]
    assert same((edges,), draw_oracle(graph, weights, 2, strategy, 'mask', 3, None)[2:])


def test_a_key_on_the_device_draws_as_the_same_number(draw_triton: Any) -> None:
    graph, weights = random_graph(40, 30)
    for key in (0, 1, 2**63 - 1, 2**63, 2**64 - 1):
        tables = [
            draw_triton(graph, weights, 4, 'weighted', 'mask', given, None)
            for given in (key, torch.tensor(signed(key)))
        ]
        assert same(*tables)


@pytest.mark.parametrize('part', [0, 1, 3, 2**40, -1])
def test_a_key_derived_on_the_device_is_the_stream_key(draw_triton: Any, part: int) -> None:
    from graphgps_ext.sampling.neighbors_triton import derive_key

    for key in (0, 7, 2**63, 2**64 - 1):
        given = torch.tensor(signed(key), device='cuda' if ON_GPU else 'cpu')
        assert derive_key(given, part).item() == signed(stream_key(key, part))


def test_bad_weights_are_named_or_if_nobody_looks_not_drawn(draw_triton: Any) -> None:
    graph = graph_of_rows([range(6)] * 4, num_sources=6)
    weights = torch.ones(24)
    weights[[13, 14, 20]] = torch.tensor([float('nan'), float('inf'), -1.0])
    good = torch.where(torch.isfinite(weights) & (weights > 0), weights, 0.0)
    with pytest.raises(ValueError, match=r'finite and not negative, an in-edge of node 2 has another one'):
        draw_triton(graph, weights, 3, 'weighted', 'mask', 0, None)
    for degree in (3, 6):
        case = (degree, 'weighted', 'repeat', 0, None)
        assert same(draw_triton(graph, weights, *case, checked=True), draw_triton(graph, good, *case))
