"""The reference in docs: complete, equal to the live registries and config, checked to be current."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import runs
from torch_geometric.graphgym.config import set_cfg
from yacs.config import CfgNode

from graphgps_ext.config import GROUPS
from graphgps_ext.loader.datasets import FORMATS
from graphgps_ext.loader.datasets.ogb import OGB_NAMES
from graphgps_ext.loader.datasets.pyg import PYG_NAMES

# What a process finds new in GraphGym's registries, and in its cfg, after importing the package.
WHAT_IS_NEW = """
import json, warnings
warnings.simplefilter('ignore')
from torch_geometric.graphgym import register
from torch_geometric.graphgym.config import cfg
def registered():
    return {(r[:-5], n) for r, d in vars(register).items() if r.endswith('_dict') for n in d}
def keys(node, prefix=''):
    inner = [keys(v, f'{prefix}{n}.') if hasattr(v, 'items') else {prefix + n} for n, v in node.items()]
    return set().union(*inner)
before = registered(), keys(cfg)
import graphgps_ext
print(json.dumps([sorted(registered() - before[0]), sorted(keys(cfg) - before[1])]))
"""


document_reference = runs.load_script('document_reference')


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str | Path) -> None:
    monkeypatch.setattr(sys, 'argv', ['document_reference.py', *map(str, arguments)])
    document_reference.main()


@pytest.fixture(scope='module')
def rows() -> list[list[str]]:
    """The cells of all table rows of the reference."""
    lines = [line for line in document_reference.reference().splitlines() if line.startswith('|')]
    return [[cell.strip() for cell in re.split(r'(?<!\\)\|', line)[1:-1]] for line in lines]


@pytest.fixture(scope='module')
def new() -> tuple[list[tuple[str, str]], list[str]]:
    """(registry, name), but for config groups, and config keys that an import adds, in a fresh process."""
    done = subprocess.run([sys.executable, '-c', WHAT_IS_NEW], capture_output=True, text=True, check=True)
    names, keys = json.loads(done.stdout.splitlines()[-1])
    return [(registry, name) for registry, name in names if registry != 'config'], keys


@pytest.fixture
def page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A page with a current reference between other text."""
    path = tmp_path / 'reference.md'
    path.write_text(
        '# Title\n\n<!-- reference: begin -->\n<!-- reference: end -->\n\nAfter.\n', encoding='utf-8'
    )
    run(monkeypatch, '--page', path)
    return path


def test_the_shipped_page_is_current(monkeypatch: pytest.MonkeyPatch) -> None:
    run(monkeypatch, '--check')


def test_writing_keeps_the_rest_and_is_repeatable(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = page.read_text(encoding='utf-8')
    assert text.startswith('# Title\n\n<!-- reference: begin -->\n') and text.endswith(
        '<!-- reference: end -->\n\nAfter.\n'
    )
    run(monkeypatch, '--check', '--page', page)
    run(monkeypatch, '--page', page)
    assert page.read_text(encoding='utf-8') == text


@pytest.mark.parametrize(
    ('old', 'stale'),
    [
        ('Number of transformer layers L.', 'Number of layers.'),
        ('| `gt.dropout`', '| `gt.drop`'),
        ('| `SpexphormerPlus`', '| `SpexphormerMinus`'),
    ],
)
def test_a_stale_page_is_detected_and_left_alone(
    page: Path, monkeypatch: pytest.MonkeyPatch, old: str, stale: str
) -> None:
    text = page.read_text(encoding='utf-8')
    assert old in text
    page.write_text(text.replace(old, stale), encoding='utf-8')
    with pytest.raises(
        SystemExit, match=r'reference\.md is not current: run python run/document_reference\.py'
    ):
        run(monkeypatch, '--check', '--page', page)
    assert stale in page.read_text(encoding='utf-8')


@pytest.mark.parametrize(
    'text', ['', '<!-- reference: end --><!-- reference: begin -->', '<!-- reference: begin -->']
)
def test_a_page_without_markers_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    path = tmp_path / 'reference.md'
    path.write_text(text, encoding='utf-8')
    with pytest.raises(
        SystemExit, match='needs the lines <!-- reference: begin --> and <!-- reference: end --> once each'
    ):
        run(monkeypatch, '--page', path)
    assert path.read_text(encoding='utf-8') == text


@pytest.mark.slow
def test_every_registered_name_is_listed_with_what_selects_it(
    rows: list[list[str]], new: tuple[list[tuple[str, str]], list[str]]
) -> None:
    registries = {registry for registry, _ in new[0]}
    listed = {(row[2], row[0].strip('`')): row for row in rows if len(row) == 4 and row[2] in registries}
    assert sorted(listed) == sorted(new[0])
    for row in listed.values():
        assert row[1] and row[3]
    assert listed['network', 'spexphormer'][1] == '`model.type`'
    assert listed['head', 'spex_seed_node'][1] == '`gnn.head`'


def test_every_key_is_listed_with_its_live_default_and_a_comment(
    rows: list[list[str]], new: tuple[list[tuple[str, str]], list[str]]
) -> None:
    live = CfgNode()
    set_cfg(live)
    types = ('bool', 'int', 'float', 'str', 'list')
    listed = {row[0].strip('`'): row[1:] for row in rows if row[1] in types}
    assert set(new[1]) <= set(listed)  # beside them: keys of GraphGym's whose default changes
    assert {key.partition('.')[0] for key in listed} >= {'dataset', 'train', 'optim', 'gt', 'prep', 'spex'}
    for key, (type_name, default, comment) in listed.items():
        value = live
        for part in key.split('.'):
            value = value[part]
        assert type_name == type(value).__name__
        assert default.strip('`') == (value if isinstance(value, str) and value else repr(value))
        assert len(comment.split()) >= 2 and comment.endswith('.')


def test_every_data_set_is_listed(rows: list[list[str]]) -> None:
    listed = {row[0].strip('`'): row[1] for row in rows if row[0].strip('`') in FORMATS}
    assert tuple(listed) == FORMATS
    for class_name, names in PYG_NAMES.items():
        shown = listed[f'PyG-{class_name}']
        assert shown == (', '.join(name.lower() for name in names) or 'any')
    assert listed['OGB'] == ', '.join(OGB_NAMES)


def test_the_keys_of_a_users_own_file_are_listed(rows: list[list[str]]) -> None:
    cells = ' '.join(row[0] for row in rows)
    for key in ('edge_index', 'x', 'y', 'train_mask', 'val_mask', 'test_mask', 'edge_attr'):
        assert f'`{key}`' in cells


@pytest.mark.parametrize(
    ('name', 'end'),
    [
        ('gt.local_gnn_type', ' One of none, gcn, sage, gat, gatedgcn.'),
        ('spex.fill', ' or repeat draws to fill them.'),
        ('gt.layers', ' At least 1, at most 1000.'),
        ('gt.beta', ' At most 1.'),
        ('spex.temperature_min', ' In (0, 1].'),
        ('gt.residual', ' to their outputs.'),
    ],
)
def test_the_meaning_says_the_allowed_values_once(rows: list[list[str]], name: str, end: str) -> None:
    (row,) = (row for row in rows if row[0] == f'`{name}`')
    assert row[3].endswith(end)


def test_the_package_has_its_groups_of_keys() -> None:
    assert [name.rpartition('_')[2] for name in GROUPS] == [
        *('dataset', 'train', 'gt', 'posenc', 'prep', 'spex'),
    ]


def test_every_shipped_config_is_listed(rows: list[list[str]]) -> None:
    listed = {row[0].strip('`'): row[1].split(', ') for row in rows if len(row) == 2}
    files = [path for path in (runs.REPOSITORY / 'configs').glob('*/*.yaml') if path.parent.name != 'search']
    assert len(files) > 100
    for path in files:
        assert path.stem.rpartition('-')[0] in listed[path.parent.name]
