"""The custom operator: repeatability, threads, torch.compile, autocast, forks."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator

import pytest
import torch
from attention_cases import Case, csr, problem, table
from attention_checks import outcome
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode

from graphgps_ext.graph import NeighborTable
from graphgps_ext.ops import sparse_attention, with_transpose
from graphgps_ext.ops.custom_op import fused_attention, fused_attention_backward


@pytest.fixture
def restored_threads() -> Iterator[None]:
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


def large_case(kind: str) -> Case:
    """Enough work for many chunks, with one row far longer than the rest."""
    g = torch.Generator().manual_seed(0)
    lengths = torch.randint(0, 60, (3000,), generator=g).tolist()
    lengths[1234] = 20_000
    graph = csr(lengths, 3000, 3, g) if kind == 'csr' else table(3000, 20, 3000, 3, g)
    return problem(graph, 2, 16, 3, g, with_bias=True)


@pytest.mark.parametrize('kind', ['csr', 'table'])
def test_results_are_bit_equal_from_run_to_run_and_for_every_number_of_threads(
    kind: str, restored_threads: None
) -> None:
    case = large_case(kind)
    grad = torch.randn(3000, 2, 16, generator=torch.Generator().manual_seed(1))
    truth = outcome(case, 'numba', grad)
    for threads in (1, 2, 5, 2):
        torch.set_num_threads(threads)
        found = outcome(case, 'numba', grad)
        assert all(torch.equal(found[name], truth[name]) for name in truth), threads


def test_large_sums_are_within_a_hundred_thousandth_of_float64() -> None:
    case = large_case('csr')
    grad = torch.randn(3000, 2, 16, generator=torch.Generator().manual_seed(1))
    exact = Case(case.neighbors, tuple(x.detach().double().requires_grad_() for x in case.inputs))
    truth, found = outcome(exact, 'torch', grad.double()), outcome(case, 'numba', grad)
    for name, x in truth.items():
        assert (found[name] - x).norm() <= 1e-5 * x.norm(), name


@pytest.mark.parametrize('kind', ['csr', 'table'])
def test_a_transpose_made_beforehand_changes_nothing(kind: str) -> None:
    case = large_case(kind)
    grad = torch.ones(3000, 2, 16)
    truth = outcome(case, 'numba', grad)
    ready = with_transpose(case.neighbors, with_edge_id=True)
    found = outcome(Case(ready, case.inputs), 'numba', grad)
    assert all(torch.equal(found[name], truth[name]) for name in truth)


def operator_arguments(kind: str, *, with_bias: bool, implementation: str = 'numba') -> tuple[object, ...]:
    g = torch.Generator().manual_seed(0)
    graph = csr([2, 0, 3], 4, 2, g) if kind == 'csr' else table(3, 4, 4, 2, g)
    case = problem(graph, 2, 3, 2, g, with_bias=with_bias)
    bias = case.inputs[5] if with_bias else None
    if isinstance(graph, NeighborTable):
        transpose: tuple[object, ...] = (None, None, None, None)
    else:
        out = with_transpose(graph, with_edge_id=with_bias).transpose
        assert out is not None
        transpose = (out.indptr, out.target, out.edge_type, out.edge_id)
    arrays = (graph.indptr, graph.source, graph.edge_type, *transpose)
    return (*case.inputs[:5], bias, *arrays, 4.0, True, implementation)


@pytest.mark.parametrize('kind', ['csr', 'table'])
@pytest.mark.parametrize('with_bias', [False, True])
def test_operators_pass_opcheck(kind: str, with_bias: bool) -> None:
    args = operator_arguments(kind, with_bias=with_bias)
    torch.library.opcheck(fused_attention, args)
    out, lse, _ = fused_attention(*args)
    detached = [x.detach() if isinstance(x, torch.Tensor) else x for x in args]
    torch.library.opcheck(
        fused_attention_backward,
        (torch.ones_like(out), out.detach(), lse, *detached[:14], with_bias, 'numba'),
    )


@pytest.mark.parametrize('kind', ['csr', 'table'])
def test_torch_compile_takes_the_operator_without_a_graph_break(kind: str) -> None:
    g = torch.Generator().manual_seed(0)
    graph = with_transpose(csr([2, 0, 3, 1], 4, 3, g)) if kind == 'csr' else table(4, 3, 4, 3, g)
    scale, bias = torch.randn(3, 2, 3, generator=g), torch.randn(3, 2, generator=g)
    x = torch.randn(4, 18, generator=g, requires_grad=True)

    def layer(x: torch.Tensor) -> torch.Tensor:
        q, k, v = (y.view(4, 2, 3) for y in x.chunk(3, 1))
        return sparse_attention(q, k, v, graph, scale, bias).relu().sum()

    compiled = torch.compile(layer, fullgraph=True, backend='aot_eager')
    torch.testing.assert_close(compiled(x), layer(x))
    (found,) = torch.autograd.grad(compiled(x), x)
    torch.testing.assert_close(found, torch.autograd.grad(layer(x), x)[0])


def test_the_operator_and_eager_mode_give_equal_bits() -> None:
    args = operator_arguments('csr', with_bias=True)
    g = torch.Generator().manual_seed(0)
    graph = csr([2, 0, 3], 4, 2, g)
    q, k, v, scale, bias, edge_bias = args[:6]
    keywords = {'edge_bias': edge_bias, 'logit_clamp': 4.0, 'return_weights': True}
    out, weights = sparse_attention(q, k, v, graph, scale, bias, **keywords)
    true_out, _, true_weights = fused_attention(*args)
    assert torch.equal(out, true_out) and torch.equal(weights.flatten(), true_weights)
    grad = torch.randn(out.shape, generator=g)
    found, truth = (torch.autograd.grad(x, args[:6], grad) for x in (out, true_out))
    assert all(torch.equal(x, y) for x, y in zip(found, truth, strict=True))


def test_a_second_derivative_is_refused() -> None:
    g = torch.Generator().manual_seed(0)
    case = problem(csr([2, 0, 3], 4, 2, g), 2, 3, 2, g)
    out, _ = case.run('numba')
    (grad,) = torch.autograd.grad(out.sum(), case.inputs[0], create_graph=True)
    with pytest.raises(RuntimeError, match='register_autograd'):
        torch.autograd.grad(grad.sum(), case.inputs[1])


def test_fake_tensors_pass_through() -> None:
    g = torch.Generator().manual_seed(0)
    graph = csr([2, 0, 3], 4, 2, g)
    with FakeTensorMode(allow_non_fake_inputs=True) as mode:
        rows = [mode.from_tensor(torch.empty(n, 2, 3)) for n in (3, 4, 4)]
        tables = torch.empty(2, 2, 3), torch.empty(2, 2)
        out = sparse_attention(*rows, graph, *tables)
    assert out.shape == (3, 2, 3) and type(out) is FakeTensor


def test_autocast_computes_the_attention_in_float32_on_the_cpu() -> None:
    g = torch.Generator().manual_seed(0)
    graph = csr([2, 0, 3, 1], 4, 3, g)
    scale, bias = torch.randn(3, 2, 3, generator=g), torch.randn(3, 2, generator=g)
    x = torch.randn(4, 18, generator=g, requires_grad=True)
    linear = torch.nn.Linear(18, 18)
    with torch.autocast('cpu', torch.bfloat16):
        q, k, v = (y.view(4, 2, 3) for y in linear(x).chunk(3, 1))
        out = sparse_attention(q, k, v, graph, scale, bias)
    assert (q.dtype, out.dtype) == (torch.bfloat16, torch.float32)
    true = sparse_attention(q.float(), k.float(), v.float(), graph, scale, bias, implementation='torch')
    torch.testing.assert_close(out, true)
    out.sum().backward()
    assert x.grad is not None


def test_low_precision_outside_autocast_goes_to_the_reference_and_keeps_its_dtype() -> None:
    g = torch.Generator().manual_seed(0)
    case = problem(csr([2, 0, 3, 1], 4, 3, g), 2, 3, 3, g)
    q, k, v = (x.detach().bfloat16() for x in case.inputs[:3])
    out = sparse_attention(q, k, v, case.neighbors, *case.inputs[3:])
    assert out.dtype == torch.bfloat16
    torch.testing.assert_close(out.float(), case.run('torch')[0], atol=0.05, rtol=0.05)


def in_child(case: Case, queue: multiprocessing.Queue) -> None:
    out, _ = case.run('numba')
    queue.put(out.detach().numpy())


@pytest.mark.filterwarnings('ignore:This process .* is multi-threaded')
def test_a_forked_process_can_use_the_operator_after_its_parent_did(restored_threads: None) -> None:
    torch.set_num_threads(2)
    case = large_case('table')
    case = Case(case.neighbors, tuple(x.detach() for x in case.inputs))
    out, _ = case.run('numba')
    context = multiprocessing.get_context('fork')
    queue = context.Queue()
    child = context.Process(target=in_child, args=(case, queue))
    child.start()
    found = queue.get(timeout=30)
    child.join()
    assert (found == out.numpy()).all()


def test_weights_of_huge_logits_sum_to_one_in_each_row() -> None:
    generator = torch.Generator().manual_seed(0)
    graph = csr([30] * 200, 200, 1, generator)
    query = torch.full((200, 1, 1), 1e4)  # logits near 1e4, where float32 steps by 1e-3
    key = 1 + 1e-4 * torch.rand(200, 1, 1, generator=generator)
    tables = torch.ones(1, 1, 1), torch.zeros(1, 1)
    _, weights = sparse_attention(
        query, key, key, graph, *tables, return_weights=True, implementation='numba'
    )
    torch.testing.assert_close(weights.view(200, 30).sum(1), torch.ones(200), rtol=0, atol=1e-5)
