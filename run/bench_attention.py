"""Speed and memory of the sparse attention operator, forward + backward, against what else computes it.

    python run/bench_attention.py                         the cases of this machine's device
    python run/bench_attention.py --groups tiny --seconds 0.01    does the script work?
    python run/bench_attention.py --groups growth         edges x1, x10, x100; degree; width; heads
    python run/bench_attention.py --groups small --impl triton --profile    where does the host's time go?
    python run/bench_attention.py --json attention.json   rows as JSON as well

Each implementation is compared with a float64 run of the reference, outputs and all gradients, before it is
timed. The transpose that our backward pass reads is made beforehand, as the loader does, except in the case
"transpose included". A case called "whole layer" adds projections: ours from d to 3d before the operator;
GCNConv (with its normalisation cached) and GATv2Conv bring theirs in every case.

On a GPU `ms` is the time of a step in eager mode, host and device at once; host_ms that after which the call
returns; device_ms that of a CUDA graph of the step, in which the host has no part. Peers beside PyG's layers:
the formula edge by edge with PyG's functions (scatter), on tables as batched products (gather_matmul), both
also through torch.compile, and, where it is installed, turbo-gnn, whose attention has no edge types: it is
compared with ours under equal types, and does less.

floor_ms = bytes / bandwidth of a copy, for a backward pass without atomics, d = heads * channels. Where the
rows of neighbours do not fit the cache: bytes = 4 * (6 * E * d + 9 * N * d): per edge key and value forward,
key and value again backward, query and output gradient through the transpose; nine passes over rows. Where
they fit: bytes = 15 * E + 36 * N * d: source and type of each edge three times, and the rows.
"""

from __future__ import annotations

import cProfile
import pstats
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import torch
from bench_attention_cases import GROUPS, AttentionCase, Problem, make_problem
from bench_harness import (
    copy_bandwidth,
    device_ms,
    extra_mb,
    host_ms,
    median_ms,
    parser,
    print_table,
    write_json,
)
from torch import Tensor
from torch_geometric.nn import GATv2Conv, GCNConv
from torch_geometric.utils import scatter, softmax

from graphgps_ext.graph import NeighborTable
from graphgps_ext.ops import Implementation, sparse_attention
from graphgps_ext.provenance import describe

COLUMNS = (
    'case',
    'impl',
    'ms',
    'host_ms',
    'device_ms',
    'extra_mb',
    'floor_ms',
    'x_floor',
    'slower',
    'larger',
    'error',
)
GRADIENTS = ('query', 'key', 'value', 'type_scale', 'type_bias')


def fused(problem: Problem, implementation: Implementation | None) -> Tensor:
    p = problem
    return sparse_attention(
        p.query, p.key, p.value, p.neighbors, p.type_scale, p.type_bias, implementation=implementation
    )


def gather_matmul(problem: Problem) -> Tensor:
    """The formula on a full table as two batched products; the logit of each type, then the edge's own."""
    p = problem
    assert isinstance(p.neighbors, NeighborTable)
    source = p.source.view(p.neighbors.source.shape)
    key, value = p.key[source], p.value[source]
    scaled = torch.einsum('nhc,thc->nhtc', p.query, p.type_scale / p.query.shape[2] ** 0.5)
    by_type = torch.einsum('nhtc,nkhc->nhtk', scaled, key) + p.type_bias.t()[None, :, :, None]
    index = p.neighbors.edge_type.long()[:, None, None, :].expand(-1, by_type.shape[1], 1, -1)
    weights = by_type.gather(2, index).squeeze(2).softmax(-1)
    return torch.einsum('nhk,nkhc->nhc', weights, value)


def scattered(problem: Problem) -> Tensor:
    """The formula edge by edge with PyG's segment soft-max and scatter, as a message-passing layer has it."""
    p = problem
    products = p.query[p.target] * p.key[p.source]
    by_type = torch.einsum('ehc,thc->eht', products, p.type_scale / p.query.shape[2] ** 0.5) + p.type_bias.t()
    index = p.neighbors.edge_type.flatten().long()[:, None, None].expand(-1, by_type.shape[1], 1)
    weights = softmax(by_type.gather(2, index).squeeze(2), p.target, num_nodes=p.query.shape[0])
    return scatter(weights[:, :, None] * p.value[p.source], p.target, 0, dim_size=p.query.shape[0])


def gradients(problem: Problem, forward: Callable[[Problem], Tensor]) -> list[Tensor]:
    out = forward(problem)
    return [out, *torch.autograd.grad(out, [getattr(problem, name) for name in GRADIENTS], problem.grad)]


def error_of(problem: Problem, truth: list[Tensor], forward: Callable[[Problem], Tensor]) -> dict[str, float]:
    """The relative error in norm of the output and the five gradients."""
    found = gradients(problem, forward)
    errors = [((x.double() - y).norm() / y.norm()).item() for x, y in zip(found, truth, strict=True)]
    return dict(zip(('output', *GRADIENTS), errors, strict=True))


def tolerance(name: str, problem: Problem, part: str) -> float:
    """Of the output or of a gradient, `part`."""
    if problem.query.dtype != torch.float32:
        # That of type_bias is a small difference of large sums, which read the rounded output.
        return 5e-2 if part == 'type_bias' else 2e-2
    # The eager formulas sum the tables' gradients over all edges in float32.
    return 1e-5 if name in ('numba', 'triton') else 1e-3


def layers(problem: Problem) -> Iterator[tuple[str, Callable[[], Any]]]:
    """One training step of PyG's layers on the same edges."""
    p = problem
    d = p.query.shape[1] * p.query.shape[2]
    edge_index = torch.stack([p.source, p.target])
    x = p.query.detach().flatten(1).requires_grad_()
    grad = p.grad.flatten(1)
    convolutions = {
        'GCNConv': GCNConv(d, d, cached=True, add_self_loops=False),
        'GATv2Conv': GATv2Conv(d, p.query.shape[2], heads=p.query.shape[1], add_self_loops=False),
    }
    for name, convolution in convolutions.items():
        convolution.to(x.device)

        def step(convolution: torch.nn.Module = convolution) -> object:
            out = convolution(x, edge_index)
            return torch.autograd.grad(out, [x, *convolution.parameters()], grad)

        yield name, step


def whole_layer(problem: Problem, implementation: str) -> Callable[[], Any]:
    p = problem
    _, H, C = p.query.shape
    linear = torch.nn.Linear(H * C, 3 * H * C, device=p.query.device)
    x = p.query.detach().flatten(1).requires_grad_()

    def step() -> object:
        q, k, v = (y.view(-1, H, C) for y in linear(x).chunk(3, 1))
        out = sparse_attention(q, k, v, p.neighbors, p.type_scale, p.type_bias, implementation=implementation)
        return torch.autograd.grad(out, [x, *linear.parameters(), p.type_scale, p.type_bias], p.grad)

    return step


def turbo_gnn(problem: Problem) -> Callable[[], Any] | None:
    """A step of turbo-gnn's attention, which has no edge types; None, and the reason printed, without it."""
    try:
        from turbo_gnn import graph_transformer_aggr
        from turbo_gnn.graph import AdjacencyForwardBackwardWithNodeBuckets as Adjacency
    except (ImportError, OSError) as error:  # OSError: built for another version of torch
        print(f'turbo-gnn is left out: {error}')
        return None
    p = problem
    N, _, C = p.query.shape
    graph = Adjacency.from_edge_list(torch.stack([p.source, p.target]), N, index_dtype=torch.int32)
    one_type = replace(p, type_scale=torch.ones_like(p.type_scale), type_bias=torch.zeros_like(p.type_bias))

    def step(forward: Callable[[], Tensor]) -> list[Tensor]:
        out = forward()
        return [out, *torch.autograd.grad(out, [p.query, p.key, p.value], p.grad)]

    def theirs() -> Tensor:
        return graph_transformer_aggr(graph, p.query, p.query, p.key, p.value, C**-0.5)

    pairs = zip(step(theirs), step(lambda: fused(one_type, 'triton')), strict=True)
    error = max(((x - y).norm() / y.norm()).item() for x, y in pairs)
    if not error <= 1e-3:
        print(f'NOT EQUAL, hence not timed: turbo-gnn: {error}')
        return None
    return lambda: step(theirs)


def candidates(
    problem: Problem, device: str
) -> Iterator[tuple[str, str, Callable[[Problem], Tensor] | None, Any]]:
    """(suffix of the case, impl, function to compare with the truth, training step)."""
    fast = 'triton' if device == 'cuda' else 'numba'
    functions: dict[str, Callable[[Problem], Tensor]] = {fast: lambda p: fused(p, fast)}
    if isinstance(problem.neighbors, NeighborTable):
        functions['gather_matmul'] = gather_matmul
    functions |= {'scatter': scattered, 'torch': lambda p: fused(p, 'torch')}
    if device == 'cuda':
        eager = {'gather_matmul', 'scatter'} & functions.keys()
        torch.compiler.reset()  # the versions and sizes of earlier cases count no more
        compiled = {f'{name}, compiled': functions[name] for name in sorted(eager)}
        functions |= {name: torch.compile(function) for name, function in compiled.items()}
    for name, forward in functions.items():
        yield '', name, forward, lambda forward=forward: gradients(problem, forward)
    fresh = replace(problem, neighbors=replace(problem.neighbors, transpose=None))
    yield ', transpose included', fast, None, lambda: gradients(fresh, functions[fast])
    if device == 'cuda':
        low = problem.low_precision()
        yield ', bfloat16', fast, functions[fast], lambda: gradients(low, functions[fast])
    turbo = turbo_gnn(problem) if device == 'cuda' else None
    if turbo is not None:
        yield ', no types', 'turbo-gnn', None, turbo
    for name, step in layers(problem):
        yield '', name, None, step
    yield ', whole layer', fast, None, whole_layer(problem, fast)


def floor_ms(case: AttentionCase, edges: int, bandwidth: float, cache_bytes: int) -> float:
    d = case.heads * case.channels
    if 2 * 4 * case.nodes * d > cache_bytes:
        return 4 * (6 * edges * d + 9 * case.nodes * d) / bandwidth * 1e3
    return (15 * edges + 36 * case.nodes * d) / bandwidth * 1e3


def cache_size(device: str) -> int:
    if device == 'cuda':
        return torch.cuda.get_device_properties(0).L2_cache_size
    return 32 * 2**20  # a typical last level, shared by the cores


def truth_of(problem: Problem, device: str) -> list[Tensor] | None:
    """Output and gradients in float64, or None where the device cannot hold the reference's tensors."""
    needed = 14 * 8 * problem.source.numel() * problem.query[0].numel()
    if device == 'cuda' and needed > torch.cuda.mem_get_info()[0]:
        return None
    if device == 'cpu' and needed > 16 * 2**30:
        return None
    return gradients(problem.double(), lambda p: fused(p, 'torch'))


def measure(
    case: AttentionCase, device: str, bandwidth: float, only: str, seconds: float
) -> list[dict[str, Any]]:
    """A row per implementation that `only` matches, each timed for about `seconds`."""
    problem = make_problem(case, device)
    edges = problem.source.numel()
    truth = truth_of(problem, device)
    # Too large to prove in float64: prove the same shape with fewer nodes and edges.
    proof = problem if truth is not None else make_problem(case.smaller(), device)
    truth = truth if truth is not None else truth_of(proof, device)
    assert truth is not None
    proofs = {False: (proof, truth)}
    if device == 'cuda':  # the truth about rounded inputs
        low = proof.low_precision()
        proofs[True] = (low, gradients(low.double(), lambda p: fused(p, 'torch')))
    rows: list[dict[str, Any]] = []
    for suffix, name, forward, step in candidates(problem, device):
        if not re.search(only, name):
            continue
        row: dict[str, Any] = {
            'case': case.name + suffix, 'impl': name, 'device': device, 'nodes': case.nodes, 'edges': edges,
            'heads': case.heads, 'channels': case.channels, 'ms': None,
            'host_ms': None, 'device_ms': None, 'extra_mb': None, 'error': None, 'equal': True,
            'floor_ms': floor_ms(case, edges, bandwidth, cache_size(device)),
        }  # fmt: skip
        try:
            if forward is not None:
                shown, true = proofs['bfloat16' in suffix]
                errors = error_of(shown, true, forward)
                row['error'] = max(errors.values())
                if not all(errors[part] <= tolerance(name, shown, part) for part in errors):
                    print(f'NOT EQUAL, hence not timed: {row["case"]}, {name}: {errors}')
                    row['equal'] = False
            if row['equal']:
                row['ms'] = median_ms(step, device, seconds=seconds)
                row['extra_mb'] = extra_mb(step, device)
                if device == 'cuda':
                    row['host_ms'] = host_ms(step)
                    row['device_ms'] = device_ms(step, seconds=seconds)
        except torch.OutOfMemoryError:
            row['error'] = 'out of memory'
        rows.append(row)
    ours = next((row for row in rows if row['impl'] in ('triton', 'numba') and row['ms']), None)
    for row in rows:
        row['x_floor'] = row['ms'] and row['ms'] / row['floor_ms']
        row['slower'] = ours and row['ms'] and row['ms'] / ours['ms']
        row['larger'] = ours and row['extra_mb'] and ours['extra_mb'] and row['extra_mb'] / ours['extra_mb']
    return rows


def print_profile(case: AttentionCase, device: str, calls: int = 200) -> None:
    """Where the host's time goes in steps of our operator: the 25 functions with the most of their own."""
    problem = make_problem(case, device)
    profile = cProfile.Profile()
    # The profiler sees one thread, and backward passes on a GPU have another one.
    with torch.autograd.set_multithreading_enabled(False):
        for _ in range(10):
            gradients(problem, lambda p: fused(p, None))
        profile.enable()
        for _ in range(calls):
            gradients(problem, lambda p: fused(p, None))
        profile.disable()
        print(f'{case.name}: {calls} steps of our operator, the backward pass on the same thread')
        pstats.Stats(profile).sort_stats('tottime').print_stats(25)
        if device == 'cuda':
            print(
                f'host_ms on one thread: {host_ms(lambda: gradients(problem, lambda p: fused(p, None))):.3g}'
            )


def main(argv: Sequence[str] | None = None) -> None:
    """Measures the groups asked for; exits with a message if an implementation is wrong."""
    options = parser(__doc__, GROUPS, ('small', 'stage2', 'stage1'))
    options.add_argument('--profile', action='store_true', help="where the host's time goes, case by case")
    args = options.parse_args(argv)
    torch.manual_seed(0)
    bandwidth = copy_bandwidth(args.device, args.seconds)
    print(f'{describe(torch.device(args.device))}; copy {bandwidth / 1e9:.0f} GB/s')
    print('forward + backward, float32, median; slower, larger: against our operator in the same case\n')
    rows: list[dict[str, Any]] = []
    for group in args.groups:
        for case in GROUPS[group][args.device]:
            found = measure(case, args.device, bandwidth, args.impl, args.seconds)
            print_table(found, COLUMNS)
            rows += found
            write_json(args.json, rows)
            if args.profile:
                print_profile(case, args.device)
    if not all(row['equal'] for row in rows):
        raise SystemExit('at least one implementation differs from the float64 reference: see above')


if __name__ == '__main__':
    main()
