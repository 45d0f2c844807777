"""Evaluation layer by layer: all nodes of a large graph through layer 1, then layer 2, and so on.

A walk of L layers from a batch of nodes meets most nodes of the graph again and again; here each layer is
computed once for each node, in blocks of rows that see what they drew and nothing else. With the same key the
draws, and so the outputs, are those of the walk.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, distributed
from torch_geometric.data import Data

from graphgps_ext.graph import NeighborTable, PerLayer
from graphgps_ext.sampling import SamplingPlan
from graphgps_ext.sampling.relabel import make_relabeler

BLOCK_BYTES = 2**30  # about what a block takes, at eight float32 tensors of the size of what it reads


@dataclass(frozen=True)
class LayerwiseDraws:
    """The tables of all nodes, drawn a block of rows at a time.

    Args:
        plan: what to draw in each layer.
        key: of the draws.
        rank: of this process, which computes its share of the rows in each layer.
        world_size: number of processes.
        rows: of a block; None = as many as go into :data:`BLOCK_BYTES`.
    """

    plan: SamplingPlan
    key: int
    rank: int = 0
    world_size: int = 1
    rows: int | None = None

    def share(self, rank: int) -> range:
        """The rows of a process; shares differ by one row at most."""
        num_nodes = self.plan.graph.num_nodes
        return range(num_nodes * rank // self.world_size, num_nodes * (rank + 1) // self.world_size)

    def blocks(self, layer: int, width: int) -> Iterator[tuple[Tensor | slice, NeighborTable]]:
        """The nodes that each block of the share reads, its rows first, and its table among these."""
        plan, share = self.plan, self.share(self.rank)
        num_nodes, device = plan.graph.num_nodes, plan.graph.indptr.device
        rows = self.rows or rows_of_a_block(width * (1 + plan.layer_degrees[layer]))
        if rows >= num_nodes and len(share) == num_nodes:
            yield slice(None), plan.draw(layer, None, self.key)
            return
        for nodes in torch.arange(share.start, share.stop, device=device).split(rows):
            table = plan.draw(layer, nodes, self.key)
            relabeler = make_relabeler(num_nodes, device)
            relabeler.add(nodes)
            source = relabeler.add(table.source)
            yield relabeler.n_id, replace(table, source=source, num_sources=len(relabeler.n_id))

    def gathered(self, parts: list[Tensor]) -> Tensor:
        """[N, d] of the blocks [·, d] of all processes."""
        if self.world_size == 1:
            return parts[0] if len(parts) == 1 else torch.cat(parts)
        sizes = [len(self.share(rank)) for rank in range(self.world_size)]
        mine = parts[0].new_empty(max(sizes), parts[0].shape[1])
        torch.cat(parts, out=mine[: sizes[self.rank]])
        everyone = mine.new_empty(self.world_size * len(mine), mine.shape[1])
        distributed.all_gather_into_tensor(everyone, mine)
        shares = everyone.split(len(mine))
        return torch.cat([share[:size] for share, size in zip(shares, sizes, strict=True)])


def rows_of_a_block(floats: int) -> int:
    """Rows that go into :data:`BLOCK_BYTES`, of so many float32 numbers each."""
    return max(1, BLOCK_BYTES // (32 * floats))


def outputs_by_layer(network: Any, batch: Data) -> Iterator[Tensor]:
    """The output of each layer for all nodes, [N, d]; beside it and its blocks only the input is kept.

    Args:
        network: a :class:`graphgps_ext.network.transformer.SparseTransformer` in evaluation, where each row
            is normalised by itself.
        batch: all nodes, with `draws`, a :class:`LayerwiseDraws`.
    """
    plan = batch.draws.plan
    rows = batch.draws.rows or rows_of_a_block(batch.x.shape[1])
    parts = [_encoded(network, batch, slice(at, at + rows)) for at in range(0, batch.num_nodes, rows)]
    types = parts[0].type_embedding
    x = torch.cat([part.x for part in parts])
    del parts
    for number, layer in enumerate(network.layers):
        outputs = []
        for read, table in batch.draws.blocks(number, x.shape[1]):
            edges = None if plan.edge_attr is None else _edge_embedding(network, plan.edge_attr, table)
            out, _ = layer(x[read], table, types, temperature=network.tau, edge_embedding=edges)
            outputs.append(out)
        x = batch.draws.gathered(outputs)
        yield x


def _encoded(network: Any, batch: Data, rows: slice) -> Data:
    part = Data(x=batch.x[rows])
    if 'virtual_node' in batch:
        part.virtual_node = batch.virtual_node[rows]
    part.attention_edge_attr = PerLayer([])  # each block encodes its own
    part = network.encoder(part)
    return part if network.pre_mp is None else network.pre_mp(part)


def _edge_embedding(network: Any, edge_attr: Tensor, table: NeighborTable) -> Tensor:
    assert table.edge_id is not None
    drawn = Data(attention_edge_attr=PerLayer([edge_attr[table.edge_id.clamp(min=0)]]))
    return network.encoder.edge_encoder(drawn).attention_edge_attr[0]
