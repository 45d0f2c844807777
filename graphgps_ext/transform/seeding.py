"""Random generators that are seeded for one purpose each."""

from __future__ import annotations

import hashlib

import torch


def purpose_generator(purpose: str, seed: int) -> torch.Generator:
    """A CPU generator seeded from both arguments; it neither reads nor changes global random state.

    Two generators seeded with the same bare number start from the same permutation: an expander and a split
    drawn so would be related, and the expander's edges would tell the training nodes.
    """
    digest = hashlib.blake2b(f'{purpose}:{seed}'.encode(), digest_size=8).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest, 'little'))
