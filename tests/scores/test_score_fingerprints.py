"""What the fingerprints of a graph and of its split see."""

from dataclasses import replace

import pytest
import torch

from graphgps_ext import scores
from graphgps_ext.ops import with_transpose


def test_the_graph_fingerprint_sees_every_part_of_the_graph(graph):
    fingerprint = scores.graph_fingerprint(graph)
    same = with_transpose(replace(graph, source=graph.source.long()))
    assert scores.graph_fingerprint(same) == fingerprint
    changed = [
        replace(graph, source=graph.source.flip(0)),
        replace(graph, edge_type=graph.edge_type.flip(0)),
        replace(graph, indptr=torch.tensor([0, 2, 2, 4, 6])),
        replace(graph, num_sources=5),
    ]
    assert fingerprint not in {scores.graph_fingerprint(other) for other in changed}


def test_the_split_fingerprint_sees_every_mask():
    train, val, test = (torch.arange(10) % 3 == i for i in range(3))
    fingerprint = scores.split_fingerprint(train, val, test)
    assert scores.split_fingerprint(train.clone(), val, test) == fingerprint
    others = [(val, train, test), (train, test, val), (train, val, torch.zeros(10, dtype=torch.bool))]
    assert fingerprint not in {scores.split_fingerprint(*masks) for masks in others}
    longer = [torch.cat([mask, torch.tensor([False])]) for mask in (train, val, test)]
    assert scores.split_fingerprint(*longer) != fingerprint


def test_masks_of_several_splits_are_refused():
    mask = torch.zeros(10, dtype=torch.bool)
    with pytest.raises(
        ValueError, match=r'val_mask needs shape \(10,\) and dtype bool, got \(10, 2\) torch\.bool'
    ):
        scores.split_fingerprint(mask, mask[:, None].repeat(1, 2), mask)
    with pytest.raises(ValueError, match=r'train_mask needs shape .* got \(10,\) torch\.int64 .*split_index'):
        scores.split_fingerprint(mask.long(), mask, mask)
