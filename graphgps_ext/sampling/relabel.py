"""Numbering nodes in the order in which they first appear, without a sort."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from graphgps_ext.ops.numba_threads import kernel


@kernel(fastmath=False)
def _relabel(nodes, local_id, n_id, num_known, out):
    """Local ids of `nodes` in order of first appearance; returns how many nodes are known afterwards.

    local_id [num_nodes] holds local id + 1, 0 = not seen yet; n_id is its inverse. Both are extended.
    """
    flat, flat_out = nodes.reshape(-1), out.reshape(-1)
    for i in range(flat.size):
        node = flat[i]
        if node < 0:
            flat_out[i] = -1
            continue
        if local_id[node] == 0:
            n_id[num_known] = node
            num_known += 1
            local_id[node] = num_known
        flat_out[i] = local_id[node] - 1
    return num_known


class NumbaRelabeler:
    """Local ids for nodes of a whole graph; `n_id` [n] int64 lists the nodes met so far, in order.

    One pass over the nodes with a look-up array, on the CPU.
    """

    def __init__(self, num_nodes: int, device: torch.device) -> None:
        self.num_nodes = num_nodes
        self.n_id = torch.empty(0, dtype=torch.int64)
        # zeros are handed out lazily, page by page: a small batch of a huge graph touches few of them
        self._local_id = np.zeros(num_nodes, np.int64)  # local id + 1; 0 = not met yet

    def add(self, nodes: Tensor) -> Tensor:
        """Local ids of `nodes` (-1 = none), in their shape and dtype; those not met before extend `n_id`."""
        known = self.n_id.numel()
        n_id = torch.empty(known + min(nodes.numel(), self.num_nodes - known), dtype=torch.int64)
        n_id[:known] = self.n_id
        local = torch.empty(nodes.shape, dtype=nodes.dtype)
        size = _relabel(nodes.contiguous().numpy(), self._local_id, n_id.numpy(), known, local.numpy())
        self.n_id = n_id[:size]
        return local


class TorchRelabeler:
    """The same in parallel, on any device: a node is new where its smallest position in the list is."""

    def __init__(self, num_nodes: int, device: torch.device) -> None:
        self.num_nodes = num_nodes
        self.n_id = torch.empty(0, dtype=torch.int64, device=device)
        self._local_id = torch.full((num_nodes,), -1, device=device)

    def add(self, nodes: Tensor) -> Tensor:
        """As :meth:`NumbaRelabeler.add`."""
        flat = nodes.reshape(-1).long()
        flat_or_0 = flat.clamp(min=0)
        if not self.num_nodes:
            return nodes.clone()
        unknown = flat[(flat >= 0) & (self._local_id[flat_or_0] < 0)]
        position = torch.arange(unknown.numel(), device=flat.device)
        first = torch.full((self.num_nodes,), unknown.numel(), device=flat.device)
        first.scatter_reduce_(0, unknown, position, 'amin')
        new = unknown[first[unknown] == position]
        self._local_id[new] = torch.arange(new.numel(), device=flat.device) + self.n_id.numel()
        self.n_id = torch.cat([self.n_id, new])
        local = torch.where(flat >= 0, self._local_id[flat_or_0], -1)
        return local.view(nodes.shape).to(nodes.dtype)


def make_relabeler(num_nodes: int, device: torch.device) -> NumbaRelabeler | TorchRelabeler:
    """The compiled one on the CPU, the one in plain torch on CUDA."""
    return (NumbaRelabeler if device.type == 'cpu' else TorchRelabeler)(num_nodes, device)
