"""The page of results: what its tables say, and what it refuses to leave unsaid."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import runs

from graphgps_ext.benchmark.tidy import tidy, write_csv

PAGE = (
    '# Results\n\n<!-- table:actor -->\n<!-- /table -->\n\nBetween.\n\n<!-- table:cora -->\n<!-- /table -->\n'
)
PUBLISHED = """dataset,model,value,std,source,protocol,reason
actor,GCN,0.5,0.012,"Kipf, 2017",ten splits,
actor,MLP,0.55,,Somebody,,fewer epochs
cora,GCN,0.815,,Kipf,,
"""
RUN: dict[str, Any] = {
    'dataset': 'actor',
    'split': 0,
    'metric': 'auc',
    'epochs': 10,
    'params': 1234,
    'seconds_per_epoch': 0.5,
    'edges': 5678,
    'peak_rss_mb': 700.0,
    'peak_gpu_mb': 90.0,
    'device': 'cuda:0',
    'device_name': 'Some GPU',
    'torch': '2.11',
    'torch_geometric': '2.8',
    'python': '3.12',
    'git_revision': 'abc1234',
    'config_hash': 'one',
}
ON_CPU = {'device': 'cpu', 'device_name': 'cpu, 2 threads', 'peak_gpu_mb': 0.0, 'seconds_per_epoch': 30.0}


document_results = runs.load_script('document_results')


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str | Path) -> None:
    monkeypatch.setattr(sys, 'argv', ['document_results.py', *map(str, arguments)])
    document_results.main()


def measure(docs: Path, *runs: dict[str, Any], file: str = 'results.csv') -> None:
    """Writes runs as one of the files of results."""
    write_csv(tidy(pd.DataFrame([RUN | one for one in runs])), docs / file)


def of(model: str, *tests: float, **changes: Any) -> list[dict[str, Any]]:
    """A run for each test metric, with seeds 0, 1, ..."""
    return [{'model': model, 'test': test, 'seed': seed, **changes} for seed, test in enumerate(tests)]


def cells(docs: Path) -> dict[str, dict[str, str]]:
    """The table of the page: model, then column, then text."""
    lines = [
        line for line in (docs / 'results.md').read_text(encoding='utf-8').splitlines() if line[:1] == '|'
    ]
    head, _, *rows = [[cell.strip() for cell in line[1:-1].split('|')] for line in lines]
    return {row[0]: dict(zip(head, row, strict=True)) for row in rows}


@pytest.fixture
def docs(tmp_path: Path) -> Path:
    """A page, what is published, and runs on one of its two data sets."""
    (tmp_path / 'results.md').write_text(PAGE, encoding='utf-8')
    (tmp_path / 'published.csv').write_text(PUBLISHED, encoding='utf-8')
    measure(
        tmp_path,
        *of('GCN', 0.51, 0.52, 0.53),
        *of('Spexphormer', 0.8, 0.9, stage_1_seconds=7.0, stage_1_peak_gpu_mb=1234.0),
        *of('Spexphormer-estimator', 0.7),
        *of('MLP', 0.5, 0.5),
    )
    return tmp_path


def test_the_shipped_page_is_current(monkeypatch: pytest.MonkeyPatch) -> None:
    run(monkeypatch, '--check')


def test_rows_say_what_was_measured_and_what_is_published(
    docs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(monkeypatch, '--docs', docs)
    table = cells(docs)
    assert list(table) == ['**Spexphormer**', 'stage 1 of Spexphormer', 'GCN', 'MLP']
    assert table['**Spexphormer**'] == {
        'model': '**Spexphormer**',
        'test AUC, %': '**85.00 ± 5.00**',  # population deviation: half the difference of two
        'published': '–',
        'difference': '–',
        'seeds': '2',
        'parameters': '1,234',
        'edges per layer': '5,678',
        's/epoch': '0.50',
        'training s': '12',  # 10 epochs of 0.5 s and 7 s of stage 1
        'GPU MB': '1,234',  # that of stage 1 is higher
    }
    assert table['GCN']['test AUC, %'] == '52.00 ± 0.82'
    assert (table['GCN']['published'], table['GCN']['difference']) == ('50.00 ± 1.20 ¹', '+2.00')
    assert table['stage 1 of Spexphormer']['test AUC, %'] == '*70.00*'
    assert (table['MLP']['published'], table['MLP']['difference']) == ('55.00 ²', '−5.00')
    page = (docs / 'results.md').read_text(encoding='utf-8')
    assert '\n1. Kipf, 2017; ten splits.\n2. Somebody.\n' in page
    assert '\n- MLP (−5.00): fewer epochs\n' in page and '- GCN' not in page
    assert 'Split 0. Made with torch 2.11, PyG 2.8, Python 3.12 on Some GPU; revision abc1234.' in page


def test_what_is_outside_of_the_markers_stays_and_a_data_set_without_runs_has_no_table(
    docs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(monkeypatch, '--docs', docs)
    page = (docs / 'results.md').read_text(encoding='utf-8')
    assert page.startswith('# Results\n\n<!-- table:actor -->\n') and '\n\nBetween.\n\n' in page
    assert '|' not in page.partition('Between.')[2] and 'no runs yet' in page.partition('Between.')[2]
    run(monkeypatch, '--docs', docs)
    assert (docs / 'results.md').read_text(encoding='utf-8') == page
    run(monkeypatch, '--check', '--docs', docs)


def test_a_table_over_splits_has_its_own_file_and_the_same_published_numbers(
    docs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (docs / 'results.md').write_text(PAGE.replace('table:actor', 'table:splits/actor'), encoding='utf-8')
    measure(docs, *of('GCN', 0.3, dataset='cora'))
    splits = [run | {'split': run['seed'], 'seed': 0} for run in of('MLP', 0.50, 0.52)]
    measure(docs, *splits, file='results-splits.csv')
    run(monkeypatch, '--docs', docs)
    page = (docs / 'results.md').read_text(encoding='utf-8')
    over_splits, _, seeds = page.partition('Between.')
    assert '| MLP ' in over_splits and '| 2 (2 splits) |' in over_splits and '−4.00' in over_splits
    assert 'Splits 0, 1. Made with' in over_splits and 'docs/results-splits.csv' in over_splits
    assert '| GCN ' in seeds and 'MLP' not in seeds and 'docs/results.csv' in seeds
    measure(docs, *of('GCN', 0.3))  # of actor, whose only table is of the other file
    with pytest.raises(SystemExit, match=r'^error: results\.csv has rows of actor'):
        run(monkeypatch, '--check', '--docs', docs)


@pytest.mark.parametrize(
    ('file', 'old', 'stale'),
    [
        ('results.md', '52.00 ± 0.82', '53.00 ± 0.82'),
        ('results.md', 'fewer epochs', 'bad luck'),
        ('results.csv', ',0.51,', ',0.61,'),
        ('published.csv', '0.5,0.012', '0.51,0.012'),
    ],
)
def test_a_page_that_disagrees_with_the_data_fails_and_is_left_alone(
    docs: Path, monkeypatch: pytest.MonkeyPatch, file: str, old: str, stale: str
) -> None:
    run(monkeypatch, '--docs', docs)
    text = (docs / file).read_text(encoding='utf-8')
    assert old in text
    (docs / file).write_text(text.replace(old, stale), encoding='utf-8')
    page = (docs / 'results.md').read_text(encoding='utf-8')
    with pytest.raises(SystemExit, match=r'results\.md is not current: run python run/document_results\.py'):
        run(monkeypatch, '--check', '--docs', docs)
    assert (docs / 'results.md').read_text(encoding='utf-8') == page


def test_more_than_a_point_below_the_published_number_needs_a_reason(
    docs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (docs / 'published.csv').write_text(PUBLISHED.replace('fewer epochs', ''), encoding='utf-8')
    run(monkeypatch, '--docs', docs)  # written all the same
    told = 'more than 1 point below the published number, without a reason in published.csv: actor/MLP'
    assert capsys.readouterr().err.strip() == told
    with pytest.raises(SystemExit) as refused:
        run(monkeypatch, '--check', '--docs', docs)
    assert refused.value.code == told


def test_a_point_below_the_published_number_needs_no_reason(
    docs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    measure(docs, *of('GCN', 0.49))
    run(monkeypatch, '--docs', docs)
    run(monkeypatch, '--check', '--docs', docs)
    assert cells(docs)['GCN']['difference'] == '−1.00' and not capsys.readouterr().err


@pytest.mark.parametrize(
    ('row', 'told'),
    [
        ('atlantis,GCN,0.5,,Kipf,,', r'data sets without a table \(actor, cora\): atlantis/GCN'),
        ('cora,Oracle,0.5,,Kipf,,', 'models without a folder in configs: cora/Oracle'),
        ('cora,GCN,0.7,,Kipf,,', 'two rows of one model: cora/GCN'),
        ('cora,MLP,55.1,,Kipf,,', 'values that are no fractions of 1: cora/MLP'),
        ('cora,MLP,,,Kipf,,', 'values that are no fractions of 1: cora/MLP'),
        ('cora,MLP,0.5,1.2,Kipf,,', 'values that are no fractions of 1: cora/MLP'),
        ('cora,MLP,0.5,,,,', 'no source: cora/MLP'),
        ('cora,MLP,half,,Kipf,,', 'half'),
    ],
)
def test_published_rows_that_cannot_be_used_are_named(
    docs: Path, monkeypatch: pytest.MonkeyPatch, row: str, told: str
) -> None:
    (docs / 'published.csv').write_text(f'{PUBLISHED}{row}\n', encoding='utf-8')
    with pytest.raises(SystemExit, match=told):
        run(monkeypatch, '--docs', docs)
    assert (docs / 'results.md').read_text(encoding='utf-8') == PAGE


def test_runs_that_the_page_would_not_show_or_count_twice_are_refused(
    docs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measure(docs, *of('GCN', 0.5, dataset='photo'))
    with pytest.raises(SystemExit, match='has rows of photo, for which the page has no markers'):
        run(monkeypatch, '--check', '--docs', docs)
    measure(docs, *of('GCN', 0.5), *of('GCN', 0.6))
    with pytest.raises(SystemExit, match='needs one row for each run, got more of actor/GCN'):
        run(monkeypatch, '--check', '--docs', docs)


@pytest.mark.parametrize(
    ('page', 'told'),
    [
        (PAGE.replace('<!-- /table -->', '', 1), 'needs a line <!-- /table --> after it'),
        (PAGE.replace('cora', 'actor'), 'one table is needed for each data set, got more of actor'),
    ],
)
def test_markers_that_do_not_pair_are_refused(
    docs: Path, monkeypatch: pytest.MonkeyPatch, page: str, told: str
) -> None:
    (docs / 'results.md').write_text(page, encoding='utf-8')
    with pytest.raises(SystemExit, match=told):
        run(monkeypatch, '--docs', docs)


def test_on_a_cpu_memory_is_that_of_the_process(docs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    measure(docs, *of('GCN', 0.5, 0.6, **ON_CPU))
    run(monkeypatch, '--docs', docs)
    assert cells(docs)['GCN']['RSS MB'] == '700'


def test_several_devices_are_told_apart_and_all_named(docs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    on_both = [*of('GCN', 0.51), *of('GCN', 0.52, 0.53, **ON_CPU)[1:]]
    measure(docs, *on_both, *of('MLP', 0.56, **ON_CPU | {'git_revision': 'def5678', 'torch': '2.13'}))
    run(monkeypatch, '--docs', docs)
    table = cells(docs)
    assert (table['GCN']['peak MB'], table['MLP']['peak MB']) == ('90 GPU', '700 RSS')
    assert table['GCN']['test AUC, %'] == '*52.00 ± 1.00*'  # of both devices
    assert (table['GCN']['s/epoch'], table['MLP']['s/epoch']) == ('0.50', '30.00')  # of the GPU alone
    page = (docs / 'results.md').read_text(encoding='utf-8')
    assert 'torch 2.11, 2.13,' in page and 'on Some GPU, cpu, 2 threads; revision abc1234, def5678.' in page
    assert 'Costs of GCN are those on the GPU.' in page


def test_several_splits_under_one_name_are_said(docs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    measure(docs, *of('GCN', 0.5), *of('GCN', 0.6, split=1), *of('MLP', 0.6))
    run(monkeypatch, '--docs', docs)
    assert cells(docs)['GCN']['seeds'] == '2 (2 splits)'
    assert 'Splits 0, 1. Made' in (docs / 'results.md').read_text(encoding='utf-8')


def test_mean_over_several_configs_or_data_is_refused(docs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for column in ('config_hash', 'inputs_hash'):
        measure(docs, *of('GCN', 0.5), *of('GCN', 0.6, split=1, **{column: 'two'}), *of('MLP', 0.6))
        with pytest.raises(SystemExit, match=r'^error: no mean is over .* under one name: actor/GCN'):
            run(monkeypatch, '--docs', docs)
    measure(docs, *of('GCN', 0.5), *of('MLP', 0.6, metric='accuracy'))
    with pytest.raises(SystemExit, match=r'needs one metric for each data set, got more of actor'):
        run(monkeypatch, '--docs', docs)
    assert (docs / 'results.md').read_text(encoding='utf-8') == PAGE


@pytest.mark.parametrize(
    ('model', 'shown'),
    [
        ('GCN', 'GCN'),
        ('SpexphormerPlus', '**SpexphormerPlus**'),
        ('SpexphormerUniform', 'SpexphormerUniform'),
        ('SpexphormerPlus-estimator', 'stage 1 of SpexphormerPlus'),
        ('NoAnnealingEstimator', 'stage 1 of SpexphormerNoAnnealing'),
    ],
)
def test_models_are_named_by_what_they_are(model: str, shown: str) -> None:
    assert document_results.label(model) == shown
