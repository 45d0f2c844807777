"""Time of a new sample: K in-neighbours of every node, and the neighbourhood of a batch of seed nodes.

    python run/bench_sampling.py                        the cases of this machine's device
    python run/bench_sampling.py --groups tiny --seconds 0.01   does the script work?
    python run/bench_sampling.py --json sampling.json   rows as JSON as well

impl: numba = one pass with a reservoir per row; prepared = look-ups in running sums that were made once
(`row_sums`); triton = the draw of CUDA. Before it is timed, triton must draw the edges of numba; prepared,
which draws others, must give valid rows whose edges have the same mean log-weight. The group `tables` times
what an epoch of stage 2 draws, for all layers, and the transposes; captured = replayed from a CUDA graph, by
a key on the device, after it gave what the eager calls give.

ns_per_edge counts every edge of the graph (walks: every slot of the tables), and on the CPU the time of all
threads together, as does ns_per_row; ms is what the clock on the wall says.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from bench_harness import extra_mb, median_ms, parser, print_table, write_json
from torch import Tensor

from graphgps_ext.graph import EXPANDER, GRAPH, SELF_LOOP, InNeighbors, NeighborTable
from graphgps_ext.ops import with_transpose
from graphgps_ext.provenance import describe
from graphgps_ext.sampling import (
    RowSums,
    SamplingPlan,
    layered_neighborhood,
    row_sums,
    sample_neighbors,
    signed,
    stream_key,
)
from graphgps_ext.sampling.relabel import NumbaRelabeler, TorchRelabeler

COLUMNS = 'case impl nodes edges degree K ms ns_per_edge ns_per_row extra_mb slower'.split()
CHECKED_NODES = 5000


def random_graph(degree: Tensor, generator: torch.Generator) -> InNeighbors:
    """A graph of these in-degrees with random sources; of edges of type 0."""
    nodes = degree.numel()
    indptr = torch.cat([torch.zeros(1, dtype=torch.int64), degree.cumsum(0)])
    num_edges = int(indptr[-1])
    source = torch.randint(0, nodes, (num_edges,), generator=generator, dtype=torch.int32)
    return InNeighbors(indptr, source, torch.zeros(num_edges, dtype=torch.int8), nodes)


def random_scores(graph: InNeighbors, generator: torch.Generator) -> Tensor:
    """[E] float32: the soft-max of normal logits."""
    weights = (2 * torch.randn(graph.num_edges, generator=generator)).exp()
    target = graph.target()
    return weights / torch.zeros(graph.num_nodes).index_add(0, target, weights)[target]


@dataclass(frozen=True)
class DrawCase:
    """N nodes of mean in-degree `degree`; `skewed` draws the degrees from a log-normal law."""

    nodes: int
    degree: int
    K: int = 10
    skewed: bool = False

    @property
    def name(self) -> str:
        return f'draw, {"skewed " if self.skewed else ""}degree {self.degree}'

    def make(self) -> tuple[InNeighbors, Tensor]:
        """A random graph, and weights like attention scores."""
        generator = torch.Generator().manual_seed(0)
        degree = torch.full((self.nodes,), self.degree)
        if self.skewed:
            normal = torch.randn(self.nodes, generator=generator)
            degree = (self.degree * (normal - 0.5).exp()).round().long()
        graph = random_graph(degree, generator)
        return graph, random_scores(graph, generator)


@dataclass(frozen=True)
class WalkCase:
    """The neighbourhood of S seeds through L layers of K in-neighbours."""

    nodes: int
    seeds: int
    layer_degrees: tuple[int, ...]

    @property
    def name(self) -> str:
        return f'walk, {self.seeds} seeds, K {"-".join(map(str, self.layer_degrees))}'


@dataclass(frozen=True)
class TablesCase:
    """A table and its transpose for each layer, of the attention graph of a graph of `edges` directed edges.

    Degrees follow a power law, as those of Tolokers: 11,758 nodes and 1.04 M edges, of one node up to 2,100;
    beside these a node has 30 in-edges of an expander and a self loop.
    """

    nodes: int
    edges: int
    layer_degrees: tuple[int, ...]

    @property
    def name(self) -> str:
        return f'tables, {self.nodes} nodes, K {"-".join(map(str, self.layer_degrees))}'

    def make(self) -> SamplingPlan:
        """The plan of weighted draws, each layer by scores of its own."""
        generator = torch.Generator().manual_seed(0)
        share = torch.rand(self.nodes, generator=generator).clamp(min=1e-4).pow(-0.6)
        degree = (share * (self.edges / share.sum())).round().long().clamp(max=min(2100, self.nodes))
        graph = random_graph(degree + 31, generator)
        slot = torch.arange(graph.num_edges) - graph.indptr[:-1].repeat_interleave(degree + 31)
        own = degree.repeat_interleave(degree + 31)
        graph.edge_type[slot < own] = GRAPH
        graph.edge_type[slot >= own] = EXPANDER
        graph.edge_type[slot == own + 30] = SELF_LOOP
        scores = [random_scores(graph, generator) for _ in self.layer_degrees]
        return SamplingPlan(graph, scores, self.layer_degrees)


GROUPS: dict[str, dict[str, list[DrawCase | WalkCase | TablesCase]]] = {
    'tiny': {
        device: [
            DrawCase(500, 20),
            DrawCase(50, 200, skewed=True),
            WalkCase(500, 20, (3, 2)),
            TablesCase(200, 4000, (4, 3)),
        ]
        for device in ('cpu', 'cuda')
    },
    'tables': {device: [TablesCase(11_758, 1_040_000, (12, 10, 10, 10))] for device in ('cpu', 'cuda')},
    'degrees': {
        'cpu': [DrawCase(4_000_000 // degree, degree) for degree in (20, 50, 100, 200, 500, 1000, 5000)],
        'cuda': [DrawCase(40_000_000 // degree, degree) for degree in (20, 100, 200, 1000)],
    },
    'shapes': {
        'cpu': [DrawCase(100_000, 100, skewed=True), DrawCase(10_000, 800, K=50, skewed=True)],
        'cuda': [DrawCase(132_534, 800, K=50), DrawCase(2_449_029, 80, K=10)],
    },
    'walks': {
        device: [
            WalkCase(150_000, 256, (50, 30)),
            WalkCase(2_000_000, 1000, (10, 10)),
            WalkCase(1_500_000, 500, (20, 20)),
        ]
        for device in ('cpu', 'cuda')
    },
}


def measure(function: Callable[[], Any], device: str, seconds: float) -> tuple[float, float]:
    """Median milliseconds on the wall, and of all threads together (on CUDA: the wall again)."""
    wall = median_ms(function, device, seconds=seconds)
    if device == 'cuda':
        return wall, wall
    return wall, median_ms(function, device, seconds=seconds, clock=time.process_time)


def draws(
    graph: InNeighbors, weights: Tensor, K: int, device: str
) -> Iterator[tuple[str, Callable[[int, Tensor | None], Tensor]]]:
    """(impl, the edges [n, K] that it draws with a key for some nodes or for all)."""

    def sample(strategy: str, key: int, nodes: Tensor | None, sums: RowSums | None = None) -> Tensor:
        options: dict[str, Any] = {'strategy': strategy, 'fill': 'mask', 'key': key, 'nodes': nodes}
        table = sample_neighbors(graph, weights, K, **options, sums=sums)
        assert table.edge_id is not None
        return table.edge_id

    fast = 'numba' if device == 'cpu' else 'triton'
    yield fast, lambda key, nodes: sample('weighted', key, nodes)
    if device == 'cpu':
        sums = row_sums(graph, weights)
        yield 'prepared', lambda key, nodes: sample('weighted', key, nodes, sums)
    yield f'{fast}, uniform', lambda key, nodes: sample('uniform', key, nodes)
    yield f'{fast}, top', lambda key, nodes: sample('top', key, nodes)


def check(
    impl: str, drawn: Tensor, truth: Tensor, graph: InNeighbors, weights: Tensor, nodes: Tensor
) -> None:
    """Raises if rows drawn for `nodes` are not what they should be; `truth` is numba's draw."""
    if impl in ('numba', 'triton'):
        # CPU and CUDA may round a logarithm apart, which shows in less than one row of a million
        if (drawn != truth).any(1).sum() > (drawn.is_cuda and 1):
            raise AssertionError(f'{impl} draws other edges than numba')
        return
    taken = drawn >= 0
    inside = (drawn >= graph.indptr[nodes, None]) & (drawn < graph.indptr[nodes + 1, None])
    ascending = (drawn[:, 1:] > drawn[:, :-1]) | ~taken[:, 1:]
    if not (torch.equal(taken, truth >= 0) and (inside | ~taken).all() and ascending.all()):
        raise AssertionError(
            f'{impl} gives rows with a wrong number of edges, duplicates, or edges of other rows'
        )
    if impl == 'prepared':
        means = [weights[edges[taken]].log().double() for edges in (drawn, truth)]
        spread = (2 * means[1].var() / means[1].numel()).sqrt()
        if (means[0].mean() - means[1].mean()).abs() > 5 * spread:
            raise AssertionError(f'{impl} draws edges of another mean log-weight than numba')


def bench_draw(case: DrawCase, device: str, only: str, seconds: float) -> list[dict[str, Any]]:
    """A row per implementation that `only` matches, all checked before they are timed."""
    graph, weights = case.make()
    nodes = torch.arange(min(CHECKED_NODES, case.nodes))
    truth = next(draws(graph, weights, case.K, 'cpu'))[1](0, nodes).to(device)
    graph, weights, nodes = graph.to(device), weights.to(device), nodes.to(device)
    rows = []
    for impl, draw in draws(graph, weights, case.K, device):
        if not re.search(only, impl):
            continue
        check(impl, draw(0, nodes), truth, graph, weights, nodes)
        ms, cpu_ms = measure(lambda draw=draw: draw(1, None), device, seconds)
        extra = extra_mb(lambda draw=draw: draw(1, None), device)
        rows.append(
            {
                'case': case.name, 'impl': impl, 'device': device, 'nodes': case.nodes,
                'edges': graph.num_edges, 'degree': case.degree, 'K': case.K, 'ms': ms,
                'ns_per_edge': cpu_ms * 1e6 / graph.num_edges, 'ns_per_row': cpu_ms * 1e6 / case.nodes,
                'extra_mb': extra,
            }
        )  # fmt: skip
    return rows


def bench_walk(case: WalkCase, device: str, only: str, seconds: float) -> list[dict[str, Any]]:
    """Draw and relabelling together, then the relabelling alone by each implementation."""
    graph = DrawCase(case.nodes, 20).make()[0].to(device)
    generator = torch.Generator().manual_seed(1)
    seeds = torch.randperm(case.nodes, generator=generator)[: case.seeds].to(device)
    num_layers = len(case.layer_degrees)
    plan = SamplingPlan(graph, [None] * num_layers, case.layer_degrees, strategy='uniform')
    walk = layered_neighborhood(plan, seeds, key=0)
    reads = walk.num_nodes[1:]
    drawn = [plan.draw(layer, walk.n_id[:num_nodes], 0).source for layer, num_nodes in enumerate(reads)]
    slots = sum(table.numel() for table in drawn)
    relabelers = {'torch': TorchRelabeler} | ({'numba': NumbaRelabeler} if device == 'cpu' else {})

    def relabel(name: str) -> list[Tensor]:
        relabeler = relabelers[name](case.nodes, graph.indptr.device)
        relabeler.add(seeds)
        return [relabeler.add(table) for table in reversed(drawn)]

    functions: dict[str, Callable[[], Any]] = {
        'draw + relabel': lambda: layered_neighborhood(plan, seeds, key=0)
    }
    for name in relabelers:
        found = relabel(name)
        if not all(torch.equal(a, b.source) for a, b in zip(reversed(found), walk.layers, strict=True)):
            raise AssertionError(f'{name} relabels otherwise than the walk')
        functions[f'{name} relabel'] = lambda name=name: relabel(name)
    rows = []
    for impl, function in functions.items():
        if re.search(only, impl):
            ms, cpu_ms = measure(function, device, seconds)
            rows.append(
                {
                    'case': case.name, 'impl': impl, 'device': device, 'nodes': walk.num_nodes[0],
                    'edges': slots, 'degree': 20, 'K': case.layer_degrees[0], 'ms': ms,
                    'ns_per_edge': cpu_ms * 1e6 / slots, 'ns_per_row': cpu_ms * 1e6 / walk.num_nodes[0],
                }
            )  # fmt: skip
    return rows


def captured(function: Callable[[], Any]) -> tuple[Callable[[], Any], Any]:
    """A replay of the call from a CUDA graph, and its results, in place."""
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        function()  # compiles
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        results = function()
    return graph.replay, results


def bench_tables(case: TablesCase, device: str, only: str, seconds: float) -> list[dict[str, Any]]:
    """Draws, transposes, and both, of all layers together."""
    plan = case.make().to(torch.device(device)).prepared()
    layers = range(plan.num_layers)
    key = torch.zeros((), dtype=torch.int64, device=device)
    tables = [plan.draw(layer, None, key) for layer in layers]

    def draw() -> list[NeighborTable]:
        return [plan.draw(layer, None, key) for layer in layers]

    def transpose(drawn: list[NeighborTable] = tables) -> list[NeighborTable]:
        return [with_transpose(table, plan.num_types) for table in drawn]

    functions: dict[str, Callable[[], Any]] = {
        'draw + transpose': lambda: transpose(draw()), 'draw': draw, 'transpose': transpose
    }  # fmt: skip
    if device == 'cuda':
        replays = {f'{impl}, captured': captured(function) for impl, function in functions.items()}
        key.fill_(signed(stream_key(1)))
        replay, results = replays['draw + transpose, captured']
        replay()
        for found, table in zip(results, transpose(draw()), strict=True):
            arrays = [(x.edge_id, x.transpose.indptr) for x in (found, table)]
            if not all(torch.equal(a, b) for a, b in zip(*arrays, strict=True)):
                raise AssertionError('a captured draw differs from the eager one of the same key')
        functions |= {impl: replay for impl, (replay, _) in replays.items()}
    slots = sum(table.source.numel() for table in tables)
    edges = plan.graph.num_edges
    rows = []
    for impl, function in functions.items():
        if re.search(only, impl):
            ms, cpu_ms = measure(function, device, seconds)
            rows.append(
                {
                    'case': case.name, 'impl': impl, 'device': device, 'nodes': case.nodes, 'edges': edges,
                    'degree': round(edges / case.nodes), 'K': case.layer_degrees[0], 'ms': ms,
                    'ns_per_edge': cpu_ms * 1e6 / (edges * len(layers)),
                    'ns_per_row': cpu_ms * 1e6 / (case.nodes * len(layers)),
                    'extra_mb': extra_mb(function, device), 'slots': slots,
                }
            )  # fmt: skip
    return rows


BENCHES: dict[type, Callable[..., list[dict[str, Any]]]] = {
    DrawCase: bench_draw, WalkCase: bench_walk, TablesCase: bench_tables
}  # fmt: skip


def main(argv: Sequence[str] | None = None) -> None:
    """Measures the groups asked for; raises if an implementation draws what it should not."""
    args = parser(__doc__, GROUPS, ('degrees', 'shapes', 'walks', 'tables')).parse_args(argv)
    print(f'{describe(torch.device(args.device))}\nmedian; slower: against the first row of the case\n')
    rows: list[dict[str, Any]] = []
    for group in args.groups:
        for case in GROUPS[group][args.device]:
            found = BENCHES[type(case)](case, args.device, args.impl, args.seconds)
            for row in found:
                row['slower'] = row['ms'] / found[0]['ms']
            print_table(found, COLUMNS)
            rows += found
            write_json(args.json, rows)


if __name__ == '__main__':
    main()
