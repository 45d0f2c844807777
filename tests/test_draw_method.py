"""The picture of the method in the README is what its script draws."""

from __future__ import annotations

import sys
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest
import torch
from runs import REPOSITORY, load_script

SHAPE = (675, 1950)  # 13 x 4.5 inches at 150 pixels per inch


def pixels(path: Path) -> np.ndarray:
    """[height, width, 3] between 0 and 1."""
    return matplotlib.image.imread(path)[..., :3]


def test_the_committed_picture_is_what_the_script_draws(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / 'method.png'
    monkeypatch.setattr(sys, 'argv', ['draw_method.py', '--out', str(path)])
    num_threads = torch.get_num_threads()
    load_script('draw_method').main()
    torch.set_num_threads(num_threads)
    drawn, committed = pixels(path), pixels(REPOSITORY / 'docs' / 'method.png')
    assert drawn.shape == committed.shape == (*SHAPE, 3)
    assert drawn.std() > 0.05  # not blank
    # Line ends may fall on other pixels with another build of matplotlib; another draw changes 2 %.
    assert (np.abs(drawn - committed).max(-1) > 0.1).mean() < 0.001
