"""The draw of :func:`~graphgps_ext.sampling.sample_neighbors` in plain torch, for CUDA.

One sort of packed 64-bit numbers (row, key) brings the K smallest keys of each row to its front. Rows are
taken in chunks, so that the working memory does not grow with the graph.
"""

from __future__ import annotations

import itertools

import torch
from torch import Tensor

from graphgps_ext.graph import InNeighbors
from graphgps_ext.sampling.random import row_key, uniform
from graphgps_ext.sampling.strategies import bad_weight

KEY_BITS = 41  # the first 41 of a positive float64 after its sign: 11 of exponent, 30 of fraction
NO_KEY = 2**KEY_BITS - 1  # above every key, infinity included: sorts edges that must not be drawn to the end
CHUNK_ROWS = 2 ** (63 - KEY_BITS)
CHUNK_EDGES = 2**25  # about 3 GB of temporaries


def draw_torch(
    graph: InNeighbors,
    weights: Tensor | None,
    degree: int,
    strategy: str,
    fill: str,
    key: int,
    nodes: Tensor | None,
    chunk_edges: int = CHUNK_EDGES,
) -> tuple[Tensor, Tensor, Tensor]:
    """source, edge_type and edge_id, each [n, K], on the device of the graph. ValueError: a bad weight."""
    if nodes is None:
        nodes = torch.arange(graph.num_nodes, device=graph.indptr.device)
    begin = graph.indptr[nodes]
    length = graph.indptr[nodes + 1] - begin
    stream = row_key(key, nodes)
    edge_id = torch.full((nodes.numel(), degree), -1, dtype=torch.int64, device=nodes.device)
    for first, last in _chunks(length, chunk_edges):
        rows = slice(first, last)
        bad = _draw_chunk(edge_id[rows], begin[rows], length[rows], stream[rows], weights, strategy)
        if bad >= 0:
            raise bad_weight(int(nodes[first + bad]))
    if fill == 'repeat':
        _fill_by_repeats(edge_id, weights, stream, length)
    taken = edge_id >= 0
    source = edge_id.new_full(edge_id.shape, -1, dtype=graph.source.dtype)
    edge_type = edge_id.new_zeros(edge_id.shape, dtype=torch.int8)
    if graph.num_edges:
        at = edge_id.clamp(min=0)
        source = torch.where(taken, graph.source[at], source)
        edge_type = torch.where(taken, graph.edge_type[at], edge_type)
    return source, edge_type, edge_id


def _chunks(length: Tensor, chunk_edges: int) -> list[tuple[int, int]]:
    """Consecutive ranges of rows with about `chunk_edges` edges (at least one row) in each."""
    if not length.numel():
        return []
    end = length.cumsum(0)
    full = torch.arange(1, int(end[-1]) // chunk_edges + 1, device=end.device) * chunk_edges
    inner = torch.searchsorted(end, full, right=True)
    steps = torch.arange(0, length.numel(), CHUNK_ROWS, device=end.device)
    bounds = torch.cat([steps, inner, inner.new_tensor([length.numel()])]).unique().tolist()
    return list(itertools.pairwise(bounds))


def _draw_chunk(
    edge_id: Tensor, begin: Tensor, length: Tensor, stream: Tensor, weights: Tensor | None, strategy: str
) -> int:
    """Writes the edges drawn into edge_id [n, K]; returns the first row with a bad weight, or −1."""
    num_rows, degree = edge_id.shape
    end = length.cumsum(0)
    num_edges = int(end[-1])
    row = torch.arange(num_rows, device=end.device).repeat_interleave(length, output_size=num_edges)
    slot = torch.arange(num_edges, device=end.device) - (end - length)[row]
    edge = begin[row] + slot
    weight = None if weights is None else weights[edge].double()
    if weight is not None:
        bad = ~((weight >= 0) & (weight < torch.inf))
        if bad.any():
            return int(row[bad.int().argmax()])
    key = (
        torch.ones_like(edge, dtype=torch.float64) if strategy == 'top' else -uniform(stream[row], slot).log()
    )
    if weight is not None:
        key /= weight
    packed = key.view(torch.int64) >> (63 - KEY_BITS)
    if weight is not None:
        packed[weight == 0] = NO_KEY
    # Of equal keys the earlier edge comes first.
    packed, order = packed.add_(row << KEY_BITS).sort(stable=True)

    front = torch.arange(degree, device=end.device)
    at = ((end - length)[:, None] + front).clamp_(max=max(num_edges - 1, 0))
    if num_edges:
        drawn = (front < length[:, None]) & (packed[at] & NO_KEY != NO_KEY)
        last = torch.iinfo(torch.int64).max
        chosen = torch.where(drawn, edge[order[at]], last).sort(dim=1).values
        edge_id.copy_(torch.where(chosen == last, -1, chosen))
    return -1


def _fill_by_repeats(edge_id: Tensor, weights: Tensor | None, stream: Tensor, length: Tensor) -> None:
    """Fills the empty slots of rows that have an edge by draws with replacement."""
    degree = edge_id.shape[1]
    count = (edge_id >= 0).sum(1)
    short = ((count > 0) & (count < degree)).nonzero().squeeze(1)
    own, count = edge_id[short], count[short, None]
    front = torch.arange(degree, device=edge_id.device)
    weight = (own >= 0).double()
    if weights is not None and weights.numel():
        weight *= weights[own.clamp(min=0)]
    cumulative = weight.cumsum(1)
    at = uniform(stream[short, None], length[short, None] + front) * cumulative[:, -1:]
    pick = torch.searchsorted(cumulative, at, right=True).minimum(count - 1)
    edge_id[short] = torch.where(front < count, own, own.gather(1, pick))
