"""K in-neighbours of every node: weighted without replacement, uniform, or the heaviest.

Weighted draws follow Efraimidis & Spirakis (2006): each edge gets the key −log(u)/w, and a row keeps its K
smallest keys. That is the same as drawing one edge after another in proportion to the weights that are left.
"""

from __future__ import annotations

from torch import Tensor

from graphgps_ext.graph import InNeighbors, NeighborTable
from graphgps_ext.sampling.neighbors_numba import RowSums, draw_numba
from graphgps_ext.sampling.random import stream_key
from graphgps_ext.sampling.strategies import FILLS, STRATEGIES, check_nodes, check_weights


def sample_neighbors(
    graph: InNeighbors,
    weights: Tensor | None,
    degree: int,
    *,
    strategy: str,
    fill: str,
    key: int | Tensor,
    nodes: Tensor | None = None,
    sums: RowSums | None = None,
    checked: bool = False,
) -> NeighborTable:
    """Draws K = `degree` in-neighbours of every node, or of `nodes`.

    A row depends on (key, node) alone: not on the other rows asked for, nor on the number of threads. The CPU
    and CUDA draw from equal random numbers and give equal rows, bit for bit, but for one case: their
    logarithms may differ in the last bits, which changes a row only when two of its keys agree in their first
    31 bits. (Running sums change the draw, not its law.)

    Args:
        graph: the attention graph; its device decides where the draw runs.
        weights: [E] float32, finite and not negative, in the order of the graph's edges: the attention scores
            of one layer. 'uniform' ignores them, and for it alone they may be None.
        degree: K ≥ 1.
        strategy: 'weighted' draws without replacement in proportion to the weights; 'uniform' the same with
            equal weights; 'top' takes the largest weights, of equal ones the earlier edge.
        fill: what a row with fewer than K drawable edges gets in its last slots: 'mask' leaves them empty,
            'repeat' draws with replacement in proportion to the weights (a repeated neighbour counts twice in
            the soft-max). An edge of weight 0 is never drawn, and a row without a drawable edge stays empty.
        key: 64-bit key of the draw, see :func:`~graphgps_ext.sampling.random.stream_key`; or the same 64 bits
            as int64 [] on the device of the graph, where a CUDA graph that draws reads them at each replay.
        nodes: [n] int64, the nodes whose rows are wanted, in any order; default all.
        sums: :func:`~graphgps_ext.sampling.row_sums` of these weights, for weights that are drawn from many
            times on a CPU. They must not change in between.
        checked: weights and nodes are known to be good, so that on CUDA nobody looks and the host does not
            wait.

    Returns:
        A table of n (or N) rows with `edge_id`. Neighbours are ids of the whole graph; the distinct edges of
        a row come first, in the order of the graph.

    Raises:
        ValueError: on a bad argument, or if a weight of a row asked for is negative, NaN or infinite.
    """
    _check(graph, weights, degree, strategy, fill)
    if nodes is not None:
        check_nodes('nodes', nodes, None if checked and nodes.is_cuda else graph.num_nodes)
    if strategy == 'uniform':
        weights = None
    draw = (graph, weights, degree, strategy, fill)
    if not graph.indptr.is_cuda:
        source, edge_type, edge_id = draw_numba(*draw, int(key), nodes, sums)
    else:
        from graphgps_ext.sampling.neighbors_triton import draw_triton  # builds without CUDA lack Triton

        source, edge_type, edge_id = draw_triton(*draw, key, nodes, checked=checked)
    return NeighborTable(source, edge_type, graph.num_sources, edge_id)


def layer_key(key: int | Tensor, layer: int) -> int | Tensor:
    """`stream_key(key, layer)`; of a key int64 [] on a GPU it stays there, and the host does not wait."""
    if isinstance(key, Tensor) and key.is_cuda:
        from graphgps_ext.sampling.neighbors_triton import derive_key

        return derive_key(key, layer)
    return stream_key(int(key), layer)


def _check(graph: InNeighbors, weights: Tensor | None, degree: int, strategy: str, fill: str) -> None:
    if strategy not in STRATEGIES:
        raise ValueError(f'strategy must be one of {", ".join(STRATEGIES)}, got {strategy!r} (spex.strategy)')
    if fill not in FILLS:
        raise ValueError(f'fill must be one of {", ".join(FILLS)}, got {fill!r} (spex.fill)')
    if degree < 1:
        raise ValueError(f'degree must be at least 1, got {degree} (spex.layer_degrees)')
    if weights is not None:
        check_weights(graph, weights)
    elif strategy != 'uniform':
        raise ValueError(f'strategy {strategy!r} needs weights, got None')
