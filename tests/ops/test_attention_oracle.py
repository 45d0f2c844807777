"""Every implementation that runs here against the float64 loop, forward and every gradient."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from attention_cases import Case, csr, drawn_cases, problem, table
from attention_checks import assert_matches_oracle, assert_unused_memory_is_not_read, outcome
from hypothesis import given, settings

from graphgps_ext.graph import InNeighbors, NeighborTable
from graphgps_ext.ops import sparse_attention

IMPLEMENTATIONS = ('torch', 'numba')


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize('implementation', IMPLEMENTATIONS)
@settings(max_examples=40, deadline=None)
@given(case=drawn_cases())
def test_drawn_problems_match_the_loop_oracle(implementation: str, case: Case) -> None:
    assert_matches_oracle(case, implementation)


@pytest.mark.parametrize('implementation', IMPLEMENTATIONS)
@pytest.mark.parametrize(('heads', 'channels'), [(1, 1), (1, 4), (4, 8), (2, 28), (1, 64), (1, 130)])
def test_narrow_and_wide_heads_match_the_loop_oracle(implementation: str, heads: int, channels: int) -> None:
    g = seeded()
    assert_matches_oracle(problem(csr([0, 1, 5, 12, 0], 6, 3, g), heads, channels, 3, g), implementation)
    assert_matches_oracle(problem(table(5, 4, 7, 3, g), heads, channels, 3, g), implementation)


@pytest.mark.parametrize('implementation', IMPLEMENTATIONS)
def test_rows_longer_than_a_block_match_the_loop_oracle(implementation: str) -> None:
    g = seeded()
    graph = csr([700, 0, 257, 1, 256], 4, 3, g)  # its transpose has long rows too
    case = problem(graph, 2, 5, 3, g, with_bias=True, temperature=0.5, logit_clamp=2.0)
    assert_matches_oracle(case, implementation)


@pytest.mark.parametrize('implementation', IMPLEMENTATIONS)
def test_repeated_neighbors_count_each_time(implementation: str) -> None:
    neighbors = torch.tensor([[1, 1, 0]], dtype=torch.int32)
    graph = NeighborTable(neighbors, torch.zeros(1, 3, dtype=torch.int8), 2)
    value = torch.tensor([[[3.0]], [[9.0]]])
    zeros, one = torch.zeros(1, 1, 1), torch.ones(1, 1, 1)
    out = sparse_attention(zeros, value, value, graph, one, zeros[0], implementation=implementation)
    torch.testing.assert_close(out, torch.tensor([[[7.0]]]))


@pytest.mark.parametrize('implementation', IMPLEMENTATIONS)
def test_huge_logits_stay_finite_and_the_clamp_stops_their_gradient(implementation: str) -> None:
    g = seeded()
    graph = csr([4, 6, 3], 5, 3, g)
    grad = torch.ones(3, 1, 4)
    for spread in (1e4, 1e15):
        sharp = problem(graph, 1, 4, 3, g, spread=spread, temperature=0.05)
        assert all(x.isfinite().all() for x in outcome(sharp, implementation, grad).values()), spread
    clamped = problem(graph, 1, 4, 3, g, spread=1e4, temperature=0.05, logit_clamp=8.0)
    found = outcome(clamped, implementation, grad)
    assert all(x.isfinite().all() for x in found.values())
    for name in ('query', 'key', 'type_scale', 'type_bias'):
        assert (found[name] == 0).all(), name
    assert_matches_oracle(clamped, implementation)


@pytest.mark.parametrize('implementation', IMPLEMENTATIONS)
def test_a_clamp_that_binds_nowhere_changes_nothing(implementation: str) -> None:
    g = seeded()
    case = problem(csr([3, 0, 5], 4, 3, g), 2, 3, 3, g)
    wide = Case(case.neighbors, case.inputs, logit_clamp=1e4)
    assert torch.equal(case.run(implementation)[0], wide.run(implementation)[0])


@pytest.mark.parametrize('implementation', IMPLEMENTATIONS)
def test_weights_of_a_row_sum_to_one_and_empty_slots_weigh_zero(implementation: str) -> None:
    g = seeded()
    graph = table(9, 5, 6, 3, g)
    _, weights = problem(graph, 2, 4, 3, g).run(implementation)
    used = graph.source >= 0
    assert (weights[~used] == 0).all()
    torch.testing.assert_close(weights.sum(1), used.any(1)[:, None].expand(-1, 2).float())


@pytest.mark.parametrize('implementation', IMPLEMENTATIONS)
def test_a_table_with_all_neighbors_equals_the_csr_graph(implementation: str) -> None:
    g = seeded()
    graph = csr([4] * 6, 7, 3, g)
    case = problem(graph, 2, 5, 3, g)
    slots = NeighborTable(graph.source.view(6, 4), graph.edge_type.view(6, 4), 7)
    out, weights = case.run(implementation)
    same, same_weights = Case(slots, case.inputs).run(implementation)
    torch.testing.assert_close(same, out)
    torch.testing.assert_close(same_weights.view(-1, 2), weights)


@pytest.mark.parametrize('implementation', IMPLEMENTATIONS)
@pytest.mark.parametrize('kind', ['csr', 'table'])
def test_memory_that_no_edge_uses_is_never_read(implementation: str, kind: str) -> None:
    assert_unused_memory_is_not_read(kind, implementation, channels=5)


@pytest.mark.parametrize('implementation', IMPLEMENTATIONS)
def test_a_nan_in_a_used_row_reaches_the_output(implementation: str) -> None:
    g = seeded()
    case = problem(csr([2, 3], 3, 3, g), 1, 4, 3, g)
    with torch.no_grad():
        case.inputs[0][1, 0, 2] = float('nan')
    out, _ = case.run(implementation)
    assert out[0].isfinite().all()
    assert out[1].isnan().all()


@pytest.mark.parametrize('implementation', IMPLEMENTATIONS)
def test_graphs_without_nodes_edges_or_slots_give_zeros(implementation: str) -> None:
    g = seeded()
    for graph in (
        csr([0, 0, 0], 4, 2, g),
        csr([], 4, 2, g),
        NeighborTable(torch.zeros(3, 0, dtype=torch.int32), torch.zeros(3, 0, dtype=torch.int8), 4),
    ):
        case = problem(graph, 2, 3, 2, g)
        found = outcome(case, implementation, torch.ones_like(case.inputs[0]))
        assert all((x == 0).all() for x in found.values())


@pytest.mark.parametrize('implementation', IMPLEMENTATIONS)
def test_views_of_one_fused_projection_are_taken_as_they_are(implementation: str) -> None:
    g = seeded()
    N, H, C = 6, 2, 4
    graph = csr([2, 0, 3, 1, 4, 6], N, 3, g)
    fused = torch.randn(N, 3 * H * C, generator=g, requires_grad=True)
    interleaved = torch.randn(N, H, C, 3, generator=g, requires_grad=True)
    scale, bias = torch.randn(3, H, C, generator=g), torch.randn(3, H, generator=g)
    for whole, parts in (
        (fused, [x.view(N, H, C) for x in fused.chunk(3, 1)]),
        (interleaved, list(interleaved.unbind(3))),
    ):
        out = sparse_attention(*parts, graph, scale, bias, implementation=implementation)
        (found,) = torch.autograd.grad(out.sum(), whole, retain_graph=True)
        copies = [x.contiguous() for x in parts]
        true = sparse_attention(*copies, graph, scale, bias, implementation='torch')
        torch.testing.assert_close(out, true)
        torch.testing.assert_close(found, torch.autograd.grad(true.sum(), whole)[0])


@pytest.mark.parametrize('implementation', IMPLEMENTATIONS)
def test_a_temperature_in_a_tensor_gives_what_the_number_gives(implementation: str) -> None:
    g = seeded()
    case = problem(table(6, 4, 5, 3, g), 2, 5, 3, g, with_bias=True, logit_clamp=2.0)
    grad = torch.randn(6, 2, 5, generator=g)
    for temperature in (1.0, 0.3):
        truth = outcome(replace(case, temperature=temperature), implementation, grad)
        found = outcome(replace(case, temperature=torch.tensor(temperature)), implementation, grad)
        assert all(torch.equal(found[name], truth[name]) for name in truth), temperature


def test_reference_passes_gradcheck_in_float64() -> None:
    g = seeded()
    for graph in (csr([0, 1, 3, 2], 4, 3, g), table(4, 3, 4, 3, g)):
        for clamp in (0.0, 1.5):
            case = problem(graph, 2, 3, 3, g, with_bias=True, logit_clamp=clamp, dtype=torch.float64)
            temperature = torch.tensor(0.7, dtype=torch.float64, requires_grad=True)

            def call(*x: torch.Tensor, graph=graph, clamp=clamp) -> torch.Tensor:
                return sparse_attention(
                    *x[:3], graph, *x[3:5], edge_bias=x[5], temperature=x[6], logit_clamp=clamp,
                    implementation='torch',
                )  # fmt: skip

            assert torch.autograd.gradcheck(call, (*case.inputs, temperature))


def test_int64_sources_give_what_int32_sources_give() -> None:
    g = seeded()
    graph = csr([3, 0, 4], 5, 3, g)
    case = problem(graph, 2, 3, 3, g)
    wide = Case(InNeighbors(graph.indptr, graph.source.long(), graph.edge_type, 5), case.inputs)
    grad = torch.randn(3, 2, 3, generator=g)
    truth, found = outcome(case, 'numba', grad), outcome(wide, 'numba', grad)
    assert all(torch.equal(found[name], truth[name]) for name in truth)
