"""The Triton kernels against the float64 loop: on a GPU where there is one, else in Triton's interpreter.

The interpreter is chosen when a kernel is defined, so a run without a GPU repeats this file in a process that
has TRITON_INTERPRET set; there the tests below run, here they are skipped.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from attention_cases import Case, csr, drawn_cases, problem, table
from attention_checks import assert_matches_oracle, assert_unused_memory_is_not_read, outcome
from hypothesis import HealthCheck, given, settings

from graphgps_ext.ops import sparse_attention

INTERPRETED = os.environ.get('TRITON_INTERPRET') == '1'
ON_GPU = torch.cuda.is_available() and not INTERPRETED
DEVICE = 'cuda' if ON_GPU else 'cpu'

needs_kernels = pytest.mark.skipif(not (ON_GPU or INTERPRETED), reason='runs in the interpreter instead')


@pytest.mark.slow
@pytest.mark.skipif(ON_GPU or INTERPRETED, reason='the kernels run in this process')
@pytest.mark.skipif(find_spec('triton') is None, reason='needs triton')
def test_triton_kernels_pass_in_the_interpreter() -> None:
    transposes = str(Path(__file__).with_name('test_transpose.py'))
    done = subprocess.run(
        [
            sys.executable,
            '-m',
            'pytest',
            '-q',
            '-x',
            '-p',
            'no:cacheprovider',
            '-k',
            'triton',
            __file__,
            transposes,
        ],
        env={**os.environ, 'TRITON_INTERPRET': '1'},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture
def short_segments() -> Iterator[None]:
    """Rows above 8 edges take several segments, so that the interpreter sees them merged."""
    from graphgps_ext.ops import triton_impl

    length, triton_impl.SEGMENT = triton_impl.SEGMENT, 8
    yield
    triton_impl.SEGMENT = length


@needs_kernels
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(case=drawn_cases(max_channels=5, max_rows=5))
def test_drawn_problems_match_the_loop_oracle(case: Case, short_segments: None) -> None:
    assert_matches_oracle(case, 'triton', device=DEVICE)


@needs_kernels
@pytest.mark.parametrize(('heads', 'channels'), [(1, 1), (1, 4), (3, 7), (2, 28)])
@pytest.mark.parametrize('kind', ['csr', 'table'])
def test_narrow_and_wide_heads_match_the_loop_oracle(kind: str, heads: int, channels: int) -> None:
    g = torch.Generator().manual_seed(0)
    graph = csr([0, 1, 5, 20, 0], 6, 3, g) if kind == 'csr' else table(5, 4, 7, 3, g)
    assert_matches_oracle(problem(graph, heads, channels, 3, g), 'triton', device=DEVICE)


@needs_kernels
def test_rows_of_many_segments_match_the_loop_oracle(short_segments: None) -> None:
    g = torch.Generator().manual_seed(0)
    graph = csr([30, 0, 9, 8, 1, 17], 2, 3, g)  # its transpose has long rows too
    case = problem(graph, 2, 3, 3, g, with_bias=True, temperature=0.5, logit_clamp=2.0)
    assert_matches_oracle(case, 'triton', device=DEVICE)


@needs_kernels
def test_programs_that_take_several_tiles_sum_the_table_gradients(monkeypatch: pytest.MonkeyPatch) -> None:
    from graphgps_ext.ops import triton_impl

    monkeypatch.setattr(triton_impl, 'PROGRAMS', 2)
    g = torch.Generator().manual_seed(0)
    graph = table(70, 3, 5, 5, g)
    assert_matches_oracle(problem(graph, 2, 16, 5, g), 'triton', device=DEVICE)


@needs_kernels
def test_many_heads_are_split_over_programs() -> None:
    g = torch.Generator().manual_seed(0)
    assert_matches_oracle(problem(csr([3, 0, 2], 4, 3, g), 9, 130, 3, g), 'triton', device=DEVICE)


@needs_kernels
@pytest.mark.parametrize('kind', ['csr', 'table'])
def test_memory_that_no_edge_uses_is_never_read(kind: str) -> None:
    assert_unused_memory_is_not_read(kind, 'triton', channels=3, device=DEVICE)


@needs_kernels
def test_results_are_bit_equal_from_run_to_run() -> None:
    g = torch.Generator().manual_seed(0)
    sizes = (3000, 2000) if ON_GPU else (6, 5)
    lengths = torch.randint(0, sizes[0] // 10 + 3, (sizes[1],), generator=g).tolist()
    case = problem(csr(lengths, sizes[1], 3, g), 2, 16, 3, g, with_bias=True).to(DEVICE)
    grad = torch.randn(case.inputs[0].shape, generator=g).to(DEVICE)
    truth = outcome(case, 'triton', grad)
    for _ in range(3):
        found = outcome(case, 'triton', grad)
        assert all(torch.equal(found[name], truth[name]) for name in truth)


@needs_kernels
def test_tensors_that_are_not_aligned_give_what_aligned_ones_give() -> None:
    g = torch.Generator().manual_seed(0)
    case = problem(table(6, 4, 5, 3, g), 2, 4, 3, g).to(DEVICE)
    grad = torch.randn(6, 2, 4, generator=g).to(DEVICE)

    def shifted(x: torch.Tensor) -> torch.Tensor:
        return torch.cat([x.new_zeros(1), x.detach().flatten()])[1:].view(x.shape)

    truth = outcome(case, 'triton', grad)
    graph = replace(case.neighbors, source=shifted(case.neighbors.source))
    moved = Case(graph, tuple(shifted(x).requires_grad_() for x in case.inputs))
    for again in (moved, case):  # the first compiled version must not be taken for the second kind
        found = outcome(again, 'triton', grad)
        assert all(torch.equal(found[name], truth[name]) for name in truth)


@needs_kernels
def test_bfloat16_inputs_are_summed_in_float32() -> None:
    g = torch.Generator().manual_seed(0)
    case = problem(csr([9, 0, 20, 1], 5, 3, g), 2, 4, 3, g)
    rounded = [x.detach().bfloat16() for x in case.inputs[:3]]
    half = Case(case.neighbors, tuple(x.requires_grad_() for x in (*rounded, *case.inputs[3:])))
    full = Case(case.neighbors, tuple(x.detach().float().requires_grad_() for x in half.inputs))
    grad = torch.randn(4, 2, 4, generator=g).bfloat16().to(DEVICE)
    found = outcome(half.to(DEVICE), 'triton', grad)
    truth = outcome(full.to(DEVICE), 'triton', grad.float())
    for name, x in truth.items():
        tolerance = 1e-2 if name in ('out', 'query', 'key', 'value', 'type_scale', 'type_bias') else 1e-6
        assert (found[name].float() - x).norm() <= tolerance * (x.norm() + 1e-3), name


@needs_kernels
@pytest.mark.filterwarnings('ignore:All-NaN:RuntimeWarning')  # numpy's, inside the interpreter
def test_a_nan_in_a_used_row_reaches_the_output() -> None:
    g = torch.Generator().manual_seed(0)
    case = problem(csr([2, 3], 3, 3, g), 1, 4, 3, g, logit_clamp=8.0)
    with torch.no_grad():
        case.inputs[0][1, 0, 2] = float('nan')
    out, _ = case.to(DEVICE).run('triton')
    assert out[0].isfinite().all()
    assert out[1].isnan().all()


@needs_kernels
def test_weights_of_huge_logits_sum_to_one_in_rows_of_one_and_of_many_segments(short_segments: None) -> None:
    g = torch.Generator().manual_seed(0)
    graph = csr([5, 30, 8, 17], 40, 1, g).to(DEVICE)
    query = torch.full((4, 1, 1), 1e4)  # logits near 1e4, where float32 steps by 1e-3
    key = 1 + 1e-4 * torch.rand(40, 1, 1, generator=g)
    inputs = (query, key, key, torch.ones(1, 1, 1), torch.zeros(1, 1))
    q, k, v, scale, bias = (x.to(DEVICE) for x in inputs)
    out, weights = sparse_attention(q, k, v, graph, scale, bias, return_weights=True, implementation='triton')
    for i, (begin, end) in enumerate(zip(graph.indptr[:-1].tolist(), graph.indptr[1:].tolist(), strict=True)):
        row = weights[begin:end, 0]
        assert row.sum().item() == pytest.approx(1, abs=1e-5)
        torch.testing.assert_close(out[i, 0, 0], row @ v[graph.source[begin:end].long(), 0, 0])
