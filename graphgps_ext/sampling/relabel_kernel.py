"""The compiled loop of :mod:`graphgps_ext.sampling.relabel` (numba)."""

from __future__ import annotations

from graphgps_ext.ops.numba_threads import kernel


@kernel(fastmath=False)
def relabel(neighbors, local_id, n_id, num_known, out):  # type: ignore[no-untyped-def]
    """Local ids of `neighbors` in order of first appearance; returns how many nodes are known afterwards.

    local_id [num_nodes] holds local id + 1, 0 = not seen yet; n_id is its inverse. Both are extended.
    """
    flat, flat_out = neighbors.reshape(-1), out.reshape(-1)
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
