"""Gradients are clipped by norm, where `optim.clip_grad_norm` says so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import runs


def test_gradients_are_clipped_to_the_norm_of_the_key(tmp_path: Path) -> None:
    def stats(name: str, clip: bool, value: float) -> list[dict[str, Any]]:
        keys = {
            'optim.optimizer': 'sgd',  # whose steps are as long as the gradient
            'optim.scheduler': 'none',
            'optim.weight_decay': 0.0,
            'gt.dropout': 0.0,
            'optim.clip_grad_norm': clip,
            'optim.clip_grad_norm_value': value,
        }
        return runs.result(runs.run('Exphormer', tmp_path / name, keys) / '0')['train']

    clipped, loose, off = stats('a', True, 1e-9), stats('b', True, 1e9), stats('c', False, 1e-9)
    assert loose == off
    assert off[-1]['loss'] < off[0]['loss']
    assert clipped[-1]['loss'] == clipped[0]['loss']  # steps of this size change nothing
