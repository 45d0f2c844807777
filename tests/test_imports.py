"""The pure parts know nothing of GraphGym, and no module of ours imports itself by way of others.

Importing any part runs `graphgps_ext/__init__.py`, which registers everything and so imports GraphGym: that
is the plugin's contract. What is claimed here is of the parts themselves: neither their code nor any code of
ours that it imports, at the top of a file or in a function, imports GraphGym, its config or the trainer.
"""

from __future__ import annotations

import ast
import importlib.util
from pathlib import Path

import grimp
import pytest

PURE = (
    'analysis', 'errors', 'files', 'graph', 'layer.attention', 'layer.block', 'layer.norm', 'loader.datasets',
    'ops', 'provenance', 'sampling', 'scores', 'transform',
)  # fmt: skip
FOREIGN = ('torch_geometric.graphgym', 'yacs', 'pytorch_lightning', 'lightning')


def graph_of(package: str) -> grimp.ImportGraph:
    """Who imports whom among the modules of a package."""
    return grimp.build_graph(package, cache_dir=None)


def names_imported_by(module: str) -> set[str]:
    """Modules, and what is imported from them."""
    spec = importlib.util.find_spec(module)
    assert spec is not None and spec.origin is not None
    names = set()
    for node in ast.walk(ast.parse(Path(spec.origin).read_text(encoding='utf-8'))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {node.module or '', *(f'{node.module}.{alias.name}' for alias in node.names)}
    return names


def ways_to_graphgym(graph: grimp.ImportGraph, part: str) -> list[str]:
    """Chains of modules from a part, a module or a folder of them, to an import that it should not need."""
    ways = []
    for start in sorted({part, *graph.find_descendants(part)}):
        for end in sorted({start, *graph.find_upstream_modules(start)}):
            chain = graph.find_shortest_chain(start, end) if end != start else (start,)
            for name in names_imported_by(end):
                if any(name == foreign or name.startswith(f'{foreign}.') for foreign in FOREIGN):
                    ways.append(' → '.join([*chain, name]))
    return ways


def circles(graph: grimp.ImportGraph) -> list[str]:
    """Imports `a → b` where b imports a too, directly or by way of others."""
    return [
        f'{importer} → {imported}'
        for importer in sorted(graph.modules)
        for imported in sorted(graph.find_modules_directly_imported_by(importer))
        if graph.chain_exists(importer=imported, imported=importer)
    ]


@pytest.fixture(scope='module')
def ours() -> grimp.ImportGraph:
    return graph_of('graphgps_ext')


@pytest.mark.parametrize('part', PURE)
def test_pure_part_needs_no_graphgym(ours: grimp.ImportGraph, part: str) -> None:
    assert ways_to_graphgym(ours, f'graphgps_ext.{part}') == []


def test_no_import_goes_in_a_circle(ours: grimp.ImportGraph) -> None:
    assert circles(ours) == []


def test_parts_that_do_need_it_are_found(ours: grimp.ImportGraph) -> None:
    ways = ways_to_graphgym(ours, 'graphgps_ext.network')
    assert any('torch_geometric.graphgym.config' in way for way in ways)


def test_guilty_module_is_found_behind_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / 'toy_parts'
    package.mkdir()
    (package / '__init__.py').write_text('import torch_geometric.graphgym\n')  # what registers: not its parts
    (package / 'pure.py').write_text('import torch\nfrom toy_parts import helper\n')
    (package / 'helper.py').write_text('def late():\n    from toy_parts.deep import x\n')
    (package / 'deep.py').write_text('from torch_geometric import nn\n')
    monkeypatch.syspath_prepend(tmp_path)
    assert ways_to_graphgym(graph_of('toy_parts'), 'toy_parts.pure') == []
    assert circles(graph_of('toy_parts')) == []
    (package / 'deep.py').write_text('def later():\n    from torch_geometric import graphgym\n')
    way = 'toy_parts.pure → toy_parts.helper → toy_parts.deep → torch_geometric.graphgym'
    assert ways_to_graphgym(graph_of('toy_parts'), 'toy_parts.pure') == [way]
    (package / 'deep.py').write_text('import toy_parts.pure\n')
    assert len(circles(graph_of('toy_parts'))) == 3
