"""What the tests of the score store have in common."""

from pathlib import Path

NUM_LAYERS = 3
# A value that is no weight, put at edge 4, which belongs to node 3, and what the message says.
BAD_VALUES = [
    (float('nan'), r'finite and at least 0, got nan at edge 4 of node 3'),
    (float('inf'), r'finite and at least 0, got inf at edge 4 of node 3'),
    (-0.5, r'finite and at least 0, got -0\.5 at edge 4 of node 3'),
]


def everything_in(folder: Path) -> list[str]:
    """The files below a folder, relative to it."""
    return sorted(str(p.relative_to(folder)) for p in folder.rglob('*') if p.is_file())
