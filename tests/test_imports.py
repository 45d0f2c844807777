"""The pure parts can be used in plain PyG code: they import nothing of GraphGym."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / 'graphgps_ext'
PURE = ('graph.py', 'ops', 'sampling', 'transform', 'loader/datasets', 'analysis', 'scores.py', 'files.py')
PURE_LAYERS = ('layer/attention.py', 'layer/block.py', 'layer/norm.py')


def imported_modules(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module or '')
    return names


@pytest.mark.parametrize('part', PURE + PURE_LAYERS)
def test_pure_part_does_not_import_graphgym(part: str) -> None:
    path = PACKAGE / part
    files = [path] if path.is_file() else sorted(path.rglob('*.py'))
    assert files
    guilty = [f.name for f in files for m in imported_modules(f) if m.startswith('torch_geometric.graphgym')]
    assert not guilty
