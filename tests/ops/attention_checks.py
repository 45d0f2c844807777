"""Comparison of an implementation with the float64 loop oracle, outputs and every gradient."""

from __future__ import annotations

from dataclasses import replace

import torch
from attention_cases import Case, csr, problem, table
from attention_oracle import loop_attention
from torch import Tensor

from graphgps_ext.graph import InNeighbors, NeighborTable

NAMES = ('query', 'key', 'value', 'type_scale', 'type_bias', 'edge_bias')


def outcome(case: Case, implementation: str, grad: Tensor) -> dict[str, Tensor]:
    """Output, weights and gradients by name."""
    out, weights = case.run(implementation)
    assert not weights.requires_grad
    grads = torch.autograd.grad(out, case.inputs, grad)
    return {'out': out.detach(), 'weights': weights, **dict(zip(NAMES, grads, strict=False))}


def expected(case: Case, grad: Tensor) -> dict[str, Tensor]:
    """The same from the oracle, in float64."""
    q, k, v, scale, bias = case.inputs[:5]
    out, weights = loop_attention(q, k, v, case.neighbors, scale, bias, **case.keywords())
    if not out.requires_grad:  # no edges at all
        out.requires_grad_()
    grads = torch.autograd.grad(out, case.inputs, grad.to(out.dtype), allow_unused=True)
    found = [torch.zeros_like(x) if g is None else g for g, x in zip(grads, case.inputs, strict=True)]
    return {'out': out.detach(), 'weights': weights, **dict(zip(NAMES, found, strict=False))}


def assert_matches_oracle(
    case: Case, implementation: str, tolerance: float = 1e-5, device: str = 'cpu'
) -> None:
    """The oracle runs on the CPU, the implementation on `device`.

    Every error is at most `tolerance` times the norm of the true value, plus that of a typical entry.
    A sharp temperature multiplies the rounding error of the logits themselves (float32's 6e-8 times their
    size), in any implementation: hence the factor 1 / temperature.
    """
    out_shape = case.inputs[0].shape
    grad = torch.randn(out_shape, generator=torch.Generator().manual_seed(1), dtype=case.inputs[0].dtype)
    truth = expected(case, grad)
    found = outcome(case.to(device), implementation, grad.to(device))
    allowed = tolerance * max(1.0, 1 / case.temperature)
    for name, true in truth.items():
        x = found[name].cpu()
        assert x.shape == true.shape, name
        error = (x.double() - true.double()).norm()
        assert error <= allowed * (true.double().norm() + 1.0), f'{name}: {error} of {true.norm()}'


def assert_unused_memory_is_not_read(
    kind: str, implementation: str, channels: int, device: str = 'cpu'
) -> None:
    """NaN in rows and slots that no edge uses changes no bit of the results; kind: 'csr' or 'table'."""
    g = torch.Generator().manual_seed(0)
    graph: InNeighbors | NeighborTable = (
        csr([3, 0, 2, 5, 1, 0], 5, 3, g) if kind == 'csr' else table(6, 4, 5, 3, g)
    )
    unused = graph.source < 0
    graph = replace(graph, source=torch.where(unused, -1, graph.source + 2), num_sources=8)  # not 0, 1 and 7
    no_edges = graph.degree() == 0 if kind == 'csr' else unused.all(1)
    clean = problem(graph, 2, channels, 3, g, with_bias=True)
    grad = torch.randn(clean.inputs[0].shape, generator=g).to(device)
    query, key, value, *tables, edge_bias = (x.detach().clone() for x in clean.inputs)
    query[no_edges] = edge_bias[unused] = float('nan')
    key[[0, 1, 7]] = value[[0, 1, 7]] = float('nan')
    poisoned = replace(clean, inputs=(query, key, value, *tables, edge_bias))
    truth = outcome(clean.to(device), implementation, grad)
    found = outcome(poisoned.to(device), implementation, grad)
    for name, x in truth.items():
        assert torch.equal(found[name], x), name
