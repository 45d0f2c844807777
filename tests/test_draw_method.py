"""The picture of the method in the README is what its script draws."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import matplotlib.image
import numpy as np
from runs import REPOSITORY

SHAPE = (675, 1950)  # 13 x 4.5 inches at 150 pixels per inch


def pixels(path: Path) -> np.ndarray:
    """[height, width, 3] between 0 and 1."""
    return matplotlib.image.imread(path)[..., :3]


def test_the_committed_picture_is_what_the_script_draws(tmp_path: Path) -> None:
    path = tmp_path / 'method.png'
    script = REPOSITORY / 'run' / 'draw_method.py'
    subprocess.run([sys.executable, '-W', 'ignore', script, '--out', path], check=True)
    drawn, committed = pixels(path), pixels(REPOSITORY / 'docs' / 'method.png')
    assert drawn.shape == committed.shape == (*SHAPE, 3)
    assert drawn.std() > 0.05  # not blank
    # Line ends may fall on other pixels with another build of matplotlib; another draw changes 2 %.
    assert (np.abs(drawn - committed).max(-1) > 0.1).mean() < 0.001
