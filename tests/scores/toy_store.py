"""What the tests of the score store have in common."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np

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


def checksum(array: np.ndarray) -> str:
    """As the description of the format has it."""
    text = f'{array.dtype} {array.shape}'.encode()
    return hashlib.sha256(text + array.tobytes()).hexdigest()[:32]


def text_checksum(*texts: str) -> str:
    """The fingerprint of texts."""
    return hashlib.sha256(''.join(f'str {len(text)} {text}' for text in texts).encode()).hexdigest()[:32]


def rewrite(store: Path, **changes: Any) -> None:
    """The store as another tool would write it: other fields or arrays (by name), right checksums."""
    content = json.loads((store / 'manifest.json').read_text())
    del content['check']
    for name, change in changes.items():
        if isinstance(change, np.ndarray):
            np.save(store / f'{name}.npy', change)
            content['checksums'][f'{name}.npy'] = checksum(change)
        elif change is None:
            del content[name]
        else:
            content[name] = change
    if 'graph_fingerprint' not in changes:
        of_graph = [content['checksums'][f'{name}.npy'] for name in ('indptr', 'source', 'edge_type')]
        content['graph_fingerprint'] = text_checksum(str(content['num_nodes']), *of_graph)
    check = text_checksum(json.dumps(content, sort_keys=True))
    (store / 'manifest.json').write_text(json.dumps({'check': check, **content}))
