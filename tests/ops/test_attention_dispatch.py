"""Which implementation runs, and what the operator says about arguments it cannot take."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from attention_cases import Case, csr, problem
from hypothesis import given
from hypothesis import strategies as st
from torch._subclasses.fake_tensor import FakeTensorMode

from graphgps_ext.graph import InNeighbors
from graphgps_ext.ops import attention, sparse_attention
from graphgps_ext.ops.numba_threads import kernel, row_chunks, row_ranges, run_chunks


@pytest.fixture
def case() -> Case:
    g = torch.Generator().manual_seed(0)
    return problem(csr([2, 0, 3], 4, 2, g), 2, 3, 2, g)


def call(case: Case, **kwargs: object) -> torch.Tensor:
    q, k, v, scale, bias = case.inputs
    return sparse_attention(q, k, v, case.neighbors, scale, bias, **kwargs)


def test_float32_on_the_cpu_goes_to_numba_and_what_no_kernel_takes_to_torch(case: Case) -> None:
    assert attention._choose(case.inputs[0], None) == 'numba'
    assert attention._choose(case.inputs[0].double(), None) == 'torch'
    assert attention._choose(case.inputs[0].to('meta'), None) == 'torch'


@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16, torch.float16])
def test_what_is_on_a_gpu_goes_to_triton(dtype: torch.dtype) -> None:
    with FakeTensorMode(allow_non_fake_inputs=True):  # a tensor that says it is on a GPU
        assert attention._choose(torch.empty(2, 2, 3, dtype=dtype, device='cuda'), None) == 'triton'
        assert attention._choose(torch.empty(2, 2, 3, dtype=torch.float64, device='cuda'), None) == 'torch'


def test_the_argument_overrides_the_choice(case: Case) -> None:
    assert attention._choose(case.inputs[0], 'torch') == 'torch'


def test_without_triton_the_fall_back_warns_of_its_cost(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attention, '_has_triton', False)
    with pytest.warns(UserWarning, match='triton is not installed: .* slower .* pip install triton'):
        out = call(case, implementation='triton')
    assert torch.equal(out, call(case, implementation='torch'))


def test_an_unknown_implementation_is_refused(case: Case) -> None:
    with pytest.raises(ValueError, match=r"implementation must be one of .*, got 'cuda'"):
        call(case, implementation='cuda')


def test_an_implementation_refuses_what_it_cannot_compute(case: Case) -> None:
    double = Case(case.neighbors, tuple(x.double() for x in case.inputs))
    with pytest.raises(
        ValueError, match=r"'numba' takes float32 tensors on the CPU, got torch.float64 on cpu"
    ):
        call(double, implementation='numba')
    with pytest.raises(
        ValueError, match=r"'triton' takes float32, bfloat16 or float16 tensors, got torch.float64"
    ):
        call(double, implementation='triton')


@pytest.mark.parametrize(
    ('position', 'shape', 'message'),
    [
        (0, (4, 2, 3), r'query needs shape \[3, H, C\], got \(4, 2, 3\)'),
        (1, (3, 2, 3), r'key needs shape \(4, 2, 3\), got \(3, 2, 3\)'),
        (2, (4, 2, 4), r'value needs shape \(4, 2, 3\), got \(4, 2, 4\)'),
        (3, (2, 1, 3), r'type_scale needs shape \[T, 2, 3\], got \(2, 1, 3\)'),
        (4, (3, 2), r'type_bias needs shape \(2, 2\), got \(3, 2\)'),
    ],
)
def test_shapes_that_do_not_fit_are_named(
    case: Case, position: int, shape: tuple[int, ...], message: str
) -> None:
    inputs = list(case.inputs)
    inputs[position] = torch.zeros(shape)
    with pytest.raises(ValueError, match=message):
        call(Case(case.neighbors, tuple(inputs)))


def test_settings_out_of_range_are_named(case: Case) -> None:
    with pytest.raises(ValueError, match='temperature must be positive, got 0'):
        call(case, temperature=0)
    with pytest.raises(ValueError, match=r'temperature needs shape \[\] on cpu, got \[1\] on cpu'):
        call(case, temperature=torch.ones(1))
    with pytest.raises(ValueError, match=r'temperature needs shape \[\] on cpu, got \[\] on meta'):
        call(case, temperature=torch.ones((), device='meta'))
    with pytest.raises(ValueError, match=r'logit_clamp must be 0 \(none\) or positive, got -1'):
        call(case, logit_clamp=-1)
    with pytest.raises(ValueError, match=r'edge_bias needs shape \(5, 2\), got \(5, 1\)'):
        call(case, edge_bias=torch.zeros(5, 1))


@pytest.mark.parametrize(('source', 'edge_type'), [(9, 0), (-2, 0), (0, 2), (0, -1)])
def test_an_edge_out_of_range_is_named(case: Case, source: int, edge_type: int) -> None:
    graph = case.neighbors
    assert isinstance(graph, InNeighbors)
    sources, types = graph.source.clone(), graph.edge_type.clone()
    sources[3], types[3] = source, edge_type
    bad = Case(InNeighbors(graph.indptr, sources, types, 4), case.inputs)
    wanted = r'sources must lie in \[0, 4\) and types in \[0, 2\)'
    message = rf'edge 3 has source {source} and type {edge_type}; {wanted}'
    with pytest.raises(IndexError, match=message):
        call(bad)


@given(
    lengths=st.lists(st.integers(0, 9), max_size=12),
    num_chunks=st.integers(1, 8),
    size=st.integers(1, 30),
)
def test_chunks_cut_rows_into_about_equal_shares(lengths: list[int], num_chunks: int, size: int) -> None:
    offsets = np.cumsum([0, *lengths])
    bounds = row_chunks(offsets, num_chunks)
    assert len(bounds) == num_chunks + 1 and bounds == sorted(bounds)
    assert (bounds[0], bounds[-1]) == (0, len(lengths))
    longest = max(lengths, default=0)
    assert all(
        offsets[b] - offsets[a] <= sum(lengths) / num_chunks + 1 + longest for a, b in pairwise(bounds)
    )
    ranges = list(row_ranges(offsets, size))
    assert [row for first, last in ranges for row in range(first, last)] == list(range(len(lengths)))
    assert all(
        first < last and offsets[last] - offsets[first] <= size + 1 + longest for first, last in ranges
    )


def test_chunks_run_once_each_and_an_error_in_any_thread_is_raised() -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        done: list[int] = []
        run_chunks(done.append, 100)
        assert sorted(done) == list(range(100))

        def fail(chunk: int) -> None:
            if chunk == 57:
                raise IndexError('chunk 57')

        with pytest.raises(IndexError, match='chunk 57'):
            run_chunks(fail, 100)
    finally:
        torch.set_num_threads(threads)


def test_a_kernel_without_a_place_for_its_cache_is_compiled_in_memory() -> None:
    namespace: dict[str, Any] = {}
    exec('def add_one(x): return x + 1', namespace)  # no file, hence no directory beside it
    assert kernel()(namespace['add_one'])(1) == 2
