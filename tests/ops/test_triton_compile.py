"""The Triton kernels compile for a GPU: the interpreter runs Python and accepts what the compiler refuses."""

from __future__ import annotations

import os
from typing import Any

import pytest
import torch
from attention_cases import csr, problem, table

from graphgps_ext.ops.inputs import AttentionInputs
from graphgps_ext.ops.transpose import transpose

pytest.importorskip('triton')
pytestmark = pytest.mark.skipif(os.environ.get('TRITON_INTERPRET') == '1', reason='needs compiled kernels')

POINTERS = {
    torch.float32: '*fp32',
    torch.bfloat16: '*bf16',
    torch.int64: '*i64',
    torch.int32: '*i32',
    torch.int8: '*i8',
}


class Compiled:
    """Stands for a kernel: a launch compiles it for compute capability 9.0 instead."""

    def __init__(self, kernel: Any, done: list[str]) -> None:
        self.kernel, self.done = kernel, done

    def __getitem__(self, grid: tuple[int, ...]) -> Compiled:
        return self

    def __call__(self, *args: Any, **kwargs: Any) -> None:
        import triton
        from triton.backends.compiler import GPUTarget
        from triton.compiler import ASTSource

        constants_given = [name for name in kwargs if name != 'num_warps']
        assert constants_given == self.kernel.arg_names[len(args) :]  # a launch that is repeated has no names
        signature: dict[str, str] = {}
        constants: dict[tuple[int, ...], Any] = {}
        for i, parameter in enumerate(self.kernel.params):
            value = args[i] if i < len(args) else kwargs[parameter.name]
            if isinstance(value, torch.Tensor):
                signature[parameter.name] = POINTERS[value.dtype]
            elif parameter.is_constexpr or value is None:
                signature[parameter.name], constants[(i,)] = 'constexpr', value
            else:
                signature[parameter.name] = 'fp32' if isinstance(value, float) else 'i32'
        options = {name: kwargs[name] for name in ('num_warps',) if name in kwargs}
        source = ASTSource(self.kernel, signature, constants)
        triton.compile(source, target=GPUTarget('cuda', 90, 32), options=options)
        self.done.append(self.kernel.fn.__name__)


@pytest.mark.parametrize(
    ('kind', 'heads', 'channels', 'dtype'),
    [('table', 4, 8, torch.bfloat16), ('csr', 1, 4, torch.float32), ('csr', 2, 28, torch.float32)],
)
def test_every_kernel_compiles_for_a_gpu(
    kind: str, heads: int, channels: int, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    from graphgps_ext.ops import triton_backward, triton_impl, triton_kernels

    done: list[str] = []
    names = ['forward', 'edge_weights', 'backward_rows', 'backward_columns', 'merge_outputs', 'finish']
    for name in names:
        module = triton_kernels if hasattr(triton_kernels, name) else triton_backward
        monkeypatch.setattr(module, name, Compiled(getattr(module, name), done))
    monkeypatch.setattr(triton_impl, 'SEGMENT', 8)
    g = torch.Generator().manual_seed(0)
    graph = csr([40] * 9, 9, 3, g) if kind == 'csr' else table(9, 10, 9, 3, g)
    with_bias = channels == 28
    case = problem(
        graph, heads, channels, 3, g, with_bias=with_bias, logit_clamp=8.0 if kind == 'table' else 0.0
    )
    query, key, value, scale, bias, *edge_bias = (x.detach() for x in case.inputs)
    query, key, value = (x.to(dtype) for x in (query, key, value))
    arrays = (graph.indptr, graph.source, graph.edge_type)
    inputs = (query, key, value, scale, bias, edge_bias[0] if with_bias else None, *arrays)
    inputs = AttentionInputs(*inputs, case.logit_clamp)
    out, lse, _ = triton_impl.forward(inputs, True)
    transposed = transpose(*arrays, 9, 3, with_edge_id=with_bias)
    triton_impl.backward(out, out, lse, inputs, transposed, with_bias)
    merges = {'merge_outputs'} if kind == 'csr' else set()
    assert set(done) == set(names) - {'merge_outputs'} | merges


@pytest.mark.parametrize('kind', ['csr', 'table'])
def test_the_kernel_of_the_transpose_compiles_for_a_gpu(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from graphgps_ext.ops import triton_transpose

    done: list[str] = []
    kernel = Compiled(triton_transpose.write_transpose, done)
    monkeypatch.setattr(triton_transpose, 'write_transpose', kernel)
    g = torch.Generator().manual_seed(0)
    graph = csr([40] * 9, 9, 3, g) if kind == 'csr' else table(9, 10, 9, 3, g)
    arrays = (graph.indptr, graph.source, graph.edge_type, 9, 3)
    triton_transpose.transpose_triton(*arrays, with_edge_id=kind == 'csr')
    assert done == ['write_transpose']


@pytest.mark.parametrize(
    ('strategy', 'fill', 'degree', 'whole'),
    [('weighted', 'mask', 10, True), ('uniform', 'repeat', 1, False), ('top', 'repeat', 50, True)],
)
def test_the_kernels_of_the_draw_compile_for_a_gpu(
    strategy: str, fill: str, degree: int, whole: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    from graphgps_ext.sampling import neighbors_triton, triton_kernels

    done: list[str] = []
    for name in ('draw_rows', 'derive_key'):
        monkeypatch.setattr(triton_kernels, name, Compiled(getattr(triton_kernels, name), done))
    graph = csr([40] * 60, 60, 3, torch.Generator().manual_seed(0))
    key = neighbors_triton.derive_key(torch.tensor(7), 3)
    weights = None if strategy == 'uniform' else torch.ones(graph.num_edges)
    nodes = None if whole else torch.arange(4)
    neighbors_triton.draw_triton(graph, weights, degree, strategy, fill, key, nodes, checked=True)
    assert done == ['derive_key', 'draw_rows', 'draw_rows']  # of all rows, then of the long ones
