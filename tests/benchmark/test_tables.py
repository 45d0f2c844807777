"""Statistics against numbers worked by hand, and each format read back."""

from __future__ import annotations

import math
import re
from pathlib import Path

import fake_runs
import pandas as pd
import pytest
from scipy.stats import ttest_rel

from graphgps_ext.benchmark.collect import collect
from graphgps_ext.benchmark.compare import paired_p, summarize
from graphgps_ext.benchmark.table import latex, markdown
from graphgps_ext.benchmark.write import write_results
from graphgps_ext.errors import UserError

GOOD, CLOSE, POOR = [0.8, 0.9, 1.0], [0.95, 0.75, 0.85], [0.6, 0.71, 0.79]


@pytest.fixture
def frame(tmp_path: Path) -> pd.DataFrame:
    fake_runs.fake_result(tmp_path, 'Good', GOOD, peak_gpu_mb=100.0)
    fake_runs.fake_result(tmp_path, 'Close_1', CLOSE, kept_share=12.5, peak_gpu_mb=50.0)
    fake_runs.fake_result(tmp_path, 'Poor', POOR)
    (first,) = fake_runs.fake_result(tmp_path, 'estimator', [0.2], seconds_per_epoch=0.7, peak_rss_mb=900.0)
    fake_runs.fake_result(tmp_path, 'Two', [0.7], dataset='photo', scores=str(first / 'scores'))
    return collect([tmp_path])[0]


def of(summary: pd.DataFrame, model: str) -> pd.Series:
    return summary[summary['model'] == model].iloc[0]


def test_mean_and_population_deviation_are_those_worked_by_hand(frame: pd.DataFrame) -> None:
    good = of(summarize(frame), 'Good')
    assert good['mean'] == pytest.approx(0.9)
    assert good['std'] == pytest.approx(math.sqrt((0.1**2 + 0 + 0.1**2) / 3))  # ddof 0
    assert good['val'] == pytest.approx(0.91)
    assert good['runs'] == 3


def test_higher_is_better_and_ranks_are_within_a_data_set(frame: pd.DataFrame) -> None:
    summary = summarize(frame)
    ranks = {(row.dataset, row.model): row.rank for row in summary.itertuples()}
    assert ranks == {
        ('actor', 'Good'): 1,
        ('actor', 'Close_1'): 2,
        ('actor', 'Poor'): 3,
        ('actor', 'estimator'): 4,
        ('photo', 'Two'): 1,
    }


def test_equal_means_share_a_rank(tmp_path: Path) -> None:
    for model in 'AB':
        fake_runs.fake_result(tmp_path, model, [0.5, 0.7])
    summary = summarize(collect([tmp_path])[0])
    assert list(summary['rank']) == [1, 1]


def test_p_value_is_that_of_scipy_on_the_runs_in_common(frame: pd.DataFrame) -> None:
    summary = summarize(frame)
    assert of(summary, 'Poor')['p'] == pytest.approx(ttest_rel(GOOD, POOR).pvalue)
    assert of(summary, 'Poor')['p'] < 0.05 < of(summary, 'Close_1')['p']
    assert (of(summary, 'Poor')['pairs'], of(summary, 'estimator')['pairs']) == (3, 1)
    assert math.isnan(of(summary, 'Good')['p']) and math.isnan(of(summary, 'estimator')['p'])
    # Another order of the rows is another pairing only if it is not undone.
    shuffled = summarize(frame.sample(frac=1, random_state=0))
    assert of(shuffled, 'Poor')['p'] == pytest.approx(of(summary, 'Poor')['p'])


def test_runs_that_were_judged_on_other_nodes_or_labels_are_no_pairs(tmp_path: Path) -> None:
    fake_runs.fake_result(tmp_path / 'a', 'Good', GOOD)
    fake_runs.fake_result(
        tmp_path / 'a', 'Alike', CLOSE, keys={'gt': {'layers': 3}}, inputs={'edges': 'none'}
    )
    fake_runs.fake_result(tmp_path / 'a', 'Labels', POOR, inputs={'labels': 'other'})
    fake_runs.fake_result(tmp_path / 'a', 'Nodes', POOR, inputs={'split': 'other'})
    frame, _ = collect([tmp_path / 'a'])
    summary = summarize(frame)
    assert {name: of(summary, name)['pairs'] for name in ('Alike', 'Labels', 'Nodes')} == {
        **{'Alike': 3, 'Labels': 0, 'Nodes': 0}
    }
    told = 'On actor not all models were judged on the same nodes and labels (split 0)'
    assert told in ' '.join(markdown(frame, 'all').split()) and told in latex(frame, 'all')


def test_models_with_different_metrics_share_no_ranks_and_no_table(tmp_path: Path) -> None:
    fake_runs.fake_result(tmp_path, 'A', [0.5, 0.6])
    fake_runs.fake_result(tmp_path, 'B', [0.7, 0.8])
    fake_runs.fake_result(tmp_path, 'C', [0.1, 0.3], metric='f1')  # 0.05, 0.15
    frame, _ = collect([tmp_path])
    summary = summarize(frame)
    assert {row.model: row.rank for row in summary.itertuples()} == {'A': 2, 'B': 1, 'C': 1}
    assert of(summary, 'C')['pairs'] == 0 and of(summary, 'C')['mean'] == pytest.approx(0.1)
    tables = parse_markdown(markdown(frame, 'all'))
    assert list(tables) == ['All data sets', 'actor (accuracy)', 'actor (f1)']
    assert [row['model'] for row in tables['actor (f1)']] == ['C']
    assert tables['All data sets'][-1]['actor (accuracy, 2 runs)'] == '–'


def test_single_run_has_no_deviation(tmp_path: Path) -> None:
    fake_runs.fake_result(tmp_path, 'A', [0.5])
    assert math.isnan(summarize(collect([tmp_path])[0])['std'][0])


def test_mixed_rows_and_runs_counted_twice_have_no_mean(tmp_path: Path) -> None:
    fake_runs.fake_result(tmp_path, 'A', [0.5, 0.7])
    frame, _ = collect([tmp_path])
    for column in ('config_hash', 'inputs_hash', 'metric'):
        mixed = frame.copy()
        mixed.loc[1, column] = 'other'
        with pytest.raises(UserError, match=r'under one name: actor/A'):
            summarize(mixed)
        mixed.loc[1, column] = pd.NA  # not known
        with pytest.raises(UserError, match=r'under one name: actor/A'):
            summarize(mixed)
    with pytest.raises(UserError, match=r'one row is needed for each run, got more of actor/A'):
        summarize(frame.assign(seed=0))


def test_paired_test_by_hand() -> None:
    # Differences 1, 2, 3: t = 2 / (1 / √3) = 3.4641 with 2 degrees of freedom, p = 1 − t / √(t² + 2).
    t = 2 * math.sqrt(3)
    p = paired_p(pd.Series([2.0, 4.0, 6.0]), pd.Series([1.0, 2.0, 3.0]))
    assert p == pytest.approx(1 - t / math.sqrt(t**2 + 2))
    assert paired_p(pd.Series([0.5, 0.6]), pd.Series([0.5, 0.6])) == 1
    assert math.isnan(paired_p(pd.Series([0.5]), pd.Series([0.4])))


def test_cost_of_two_stages_is_that_of_both(frame: pd.DataFrame) -> None:
    two = of(summarize(frame), 'Two')
    assert (two['seconds_all'], two['peak_rss_mb']) == (5.0 + 7.0, 900.0)
    assert of(summarize(frame), 'Good')['seconds_all'] == 5.0  # 0.5 s × 10 epochs


def parse_markdown(page: str) -> dict[str, list[dict[str, str]]]:
    """Heading → rows of its table."""
    tables: dict[str, list[dict[str, str]]] = {}
    for part in page.split('\n## ')[1:]:
        heading, _, body = part.partition('\n')
        lines = [line.strip('|').split('|') for line in body.splitlines() if line.startswith('|')]
        cells = [[cell.strip() for cell in line] for line in lines]
        tables[heading] = [dict(zip(cells[0], row, strict=True)) for row in cells[2:]]
    return tables


def test_markdown_reads_back(frame: pd.DataFrame) -> None:
    tables = parse_markdown(markdown(frame, 'all'))
    assert list(tables) == ['All data sets', 'actor (accuracy)', 'photo (accuracy)']
    actor = {row['model']: row for row in tables['actor (accuracy)']}
    assert list(actor) == ['Good', 'Close_1', 'Poor', 'estimator']
    assert actor['Good']['test accuracy'] == '**0.9000 ± 0.0816**'
    assert actor['Close_1']['test accuracy'] == '*0.8500 ± 0.0816*'
    assert actor['Poor']['test accuracy'] == '0.7000 ± 0.0779 †'
    assert actor['estimator']['test accuracy'] == '0.2000'
    assert (actor['Close_1']['edges %'], actor['Close_1']['params']) == ('12.5', '1,234')
    assert (actor['Good']['GPU MB'], actor['Poor']['GPU MB']) == ('100', '–')
    assert tables['photo (accuracy)'] == [
        {'model': 'Two', 'test accuracy': '**0.7000**', 'val': '0.7100', 'runs': '1', 'params': '1,234'}
        | {'edges': '400', 'edges %': '100.0', 's/epoch': '0.500', 'training s': '12.0', 'RSS MB': '900'}
    ]
    everything = {row['model']: row for row in tables['All data sets']}
    assert everything['estimator'] == {
        'model': 'estimator',
        'actor (accuracy, 3 runs)': '0.2000 (1)',
        'photo (accuracy, 1 run)': '–',
    }


def test_page_says_what_the_numbers_are(frame: pd.DataFrame) -> None:
    text = ' '.join(markdown(frame, 'all').split())
    for fact in ('ddof 0', 'paired t-test', 'torch 2.13.0+cpu', 'revision 1234567', 'cpu, 1 threads'):
        assert fact in text


def test_latex_has_the_structure_of_a_document(frame: pd.DataFrame) -> None:
    text = latex(frame, 'my_run')
    begun = re.findall(r'\\begin\{(\w+)\}', text)
    assert begun == ['table', 'tabular'] * 3
    assert sorted(begun) == sorted(re.findall(r'\\end\{(\w+)\}', text))
    assert text.count('{') == text.count('}') and text.count('$') % 2 == 0
    for columns, body in re.findall(r'\\begin\{tabular\}\{(\w+)\}(.*?)\\end\{tabular\}', text, re.DOTALL):
        rows = [line for line in body.splitlines() if line.endswith(r'\\')]
        assert all(row.replace(r'\&', '').count('&') == len(columns) - 1 for row in rows) and len(rows) > 1
        assert [line for line in body.split() if line.endswith('rule')] == [
            r'\toprule',
            r'\midrule',
            r'\bottomrule',
        ]
    assert r'\textbf{0.9000 $\pm$ 0.0816}' in text and r'0.7000 $\pm$ 0.0779$^\dagger$' in text
    assert r'Close\_1' in text and r'my\_run' in text and r'edges \%' in text
    assert text.isascii()
    assert not re.search(r'(?<!\\)[_#]', text)


def test_all_files_are_written_and_none_is_left_half(tmp_path: Path, frame: pd.DataFrame) -> None:
    write_results([tmp_path], tmp_path / 'out')
    files = {
        str(path.relative_to(tmp_path / 'out')) for path in (tmp_path / 'out').rglob('*') if path.is_file()
    }
    assert {'results.csv', 'table.md', 'table.tex', 'figures/actor-accuracy-time.png'} <= files
    assert not [name for name in files if 'tmp' in name]


def test_costs_are_those_of_the_runs_on_a_gpu_where_there_are_any(tmp_path: Path) -> None:
    gpu = {'device': 'cuda:0', 'seconds_per_epoch': 0.1, 'peak_gpu_mb': 50.0, 'peak_rss_mb': 2000.0}
    cpu = {'device': 'cpu', 'seconds_per_epoch': 9.0, 'peak_gpu_mb': 0.0, 'peak_rss_mb': 3000.0}
    fake_runs.fake_result(tmp_path / 'gpu', 'A', [0.5], **gpu)
    fake_runs.fake_result(tmp_path / 'cpu', 'A', [0.7, 0.9], **cpu)
    frame = pd.concat([collect([tmp_path / kind])[0] for kind in ('gpu', 'cpu')], ignore_index=True)
    row = summarize(frame.assign(seed=range(3))).iloc[0]
    assert (row['runs'], row['mean']) == (3, pytest.approx(0.7))
    assert (row['seconds_per_epoch'], row['peak_gpu_mb'], row['peak_rss_mb']) == (0.1, 50.0, 2000.0)
