"""The report: its files, its sentences, and what a failure leaves behind."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from matplotlib.image import imread
from stores import random_scores, saved, toy_scores
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from graphgps_ext.analysis import find_runs, measure, reading, report, write_report

FIGURES = ('coverage', 'distances', 'edge_types', 'entropy', 'kept', 'layers')
TABLES = (*FIGURES, 'runs', 'sampled')


@pytest.fixture(scope='module')
def measures(tmp_path_factory):
    """Two widths with expander, three seeds."""
    folder = tmp_path_factory.mktemp('family')
    for width in (4, 16):
        for seed in range(3):
            found = random_scores(10 * width + seed, width=width)
            found.manifest.__dict__['seed'] = seed
            saved(folder / f'{width}-{seed}', found)
    return measure(find_runs(folder))


@pytest.fixture(scope='module')
def written(measures, tmp_path_factory) -> Path:
    return write_report(
        tmp_path_factory.mktemp('report') / 'analysis', measures, notes=['Command: `x`']
    ).parent


def files_in(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir() if not p.name.startswith('events'))


def one_run(folder: Path, layers, edge_types=None, **changes):
    saved(folder, toy_scores(layers, edge_types, **changes))
    return measure(find_runs(folder))


def test_report_has_a_figure_and_a_tidy_table_for_each_measure(written, measures):
    wanted = [*(f'{name}.png' for name in FIGURES), *(f'{name}.csv' for name in TABLES), 'report.md']
    assert files_in(written) == sorted(wanted)
    text = (written / 'report.md').read_text()
    for name in FIGURES:
        assert f'({name}.png)' in text and f'({name}.csv)' in text
    for name in TABLES:
        pd.testing.assert_frame_equal(
            pd.read_csv(written / f'{name}.csv', dtype={'run': str, 'reference_run': str}),
            getattr(measures, name),
            check_dtype=False,
        )


def test_figures_are_drawn_and_stand_in_tensorboard_too(written):
    events = EventAccumulator(str(written), size_guidance={'images': 0}).Reload()
    assert sorted(events.Tags()['images']) == sorted(FIGURES)
    for name in FIGURES:
        pixels = imread(written / f'{name}.png')
        assert pixels.shape[0] > 300 and pixels.shape[1] > 600
        assert pixels[..., :3].std() > 0.02, name  # an empty figure is white


def test_every_figure_is_a_matplotlib_figure(measures):
    for part in report.PARTS:
        assert isinstance(part.figure(measures), Figure)


def test_an_earlier_report_is_replaced_and_another_folder_is_not(measures, tmp_path, monkeypatch):
    monkeypatch.setattr(report, 'PARTS', report.PARTS[:1])
    folder = tmp_path / 'analysis'
    write_report(folder, measures)
    (folder / 'stale.png').touch()
    write_report(folder, measures)
    assert 'stale.png' not in files_in(folder)
    (tmp_path / 'thesis').mkdir()
    (tmp_path / 'thesis' / 'chapter.tex').touch()
    with pytest.raises(FileExistsError, match='thesis holds something else than an earlier report'):
        write_report(tmp_path / 'thesis', measures)
    assert files_in(tmp_path / 'thesis') == ['chapter.tex']


def test_a_failure_leaves_the_earlier_report_and_nothing_else(measures, tmp_path, monkeypatch):
    monkeypatch.setattr(report, 'PARTS', report.PARTS[:1])
    write_report(tmp_path / 'analysis', measures)
    before = (tmp_path / 'analysis' / 'report.md').read_bytes()
    monkeypatch.setattr(report, 'markdown_table', lambda table: 1 / 0)
    for folder in ('analysis', 'new'):
        with pytest.raises(ZeroDivisionError):
            write_report(tmp_path / folder, measures)
    assert [path.name for path in tmp_path.iterdir()] == ['analysis']
    assert (tmp_path / 'analysis' / 'report.md').read_bytes() == before


def test_scores_of_one_layer_have_a_report_that_says_so(tmp_path):
    found = one_run(tmp_path / 'run', [[[0.5, 0.5], [1.0]]])
    folder = write_report(tmp_path / 'out', found).parent
    assert (
        'The scores have one layer: there is nothing to compare it with.'
        in (folder / 'report.md').read_text()
    )
    assert 'layers.png' not in files_in(folder)


def test_scores_without_expander_edges_or_large_degrees_have_a_report(tmp_path):
    found = one_run(tmp_path / 'run', [[[0.5, 0.5], [1.0]]] * 2, [[0, 2], [2]], expander_degree=0)
    text = write_report(tmp_path / 'out', found).read_text()
    assert 'expander 0' not in text and 'No node has more than 4 in-neighbours.' in text


def test_a_node_without_edges_everywhere_has_a_report(tmp_path):
    found = one_run(tmp_path / 'run', [[[1.0], []]] * 2, [[2], []])
    assert write_report(tmp_path / 'out', found).is_file()


def test_table_reads_as_markdown():
    table = pd.DataFrame({'run': ['00', 'a|b'], 'value': [1 / 3, np.nan], 'nodes': [1000, 2]})
    lines = [re.split(r'(?<!\\)\|', line) for line in report.markdown_table(table).splitlines()]
    cells = [[cell.strip() for cell in line[1:-1]] for line in lines]
    assert cells[0] == ['run', 'value', 'nodes'] and all(set(mark) <= set(':-') for mark in cells[1])
    assert cells[2:] == [['00', '0.3333', '1000'], [r'a\|b', '–', '2']]


# --- sentences follow from the numbers ---

FLAT, SHARP = [0.1] * 10, [0.91, *[0.01] * 9]


def test_entropy_sentence_says_which_layers_are_sharper(tmp_path):
    (line,) = reading.read_entropy(one_run(tmp_path / 'a', [[FLAT], [SHARP], [FLAT]]))
    assert line.startswith('width 4: entropy relative to log(degree) is 1.000 in layer 0, ')
    assert line.endswith(
        'almost uniform (≥ 0.95) in layer 0, 2; layer 1 sharper than layer 0; '
        'layer 2 not told apart from layer 0.'
    )
    (line,) = reading.read_entropy(one_run(tmp_path / 'b', [[SHARP], [FLAT]]))
    assert line.endswith('almost uniform (≥ 0.95) in layer 1; layer 1 more uniform than layer 0.')


def test_layers_sentence_says_whether_the_first_differs_most(tmp_path):
    (line,) = reading.read_layers(one_run(tmp_path / 'a', [[FLAT], [SHARP], [SHARP]]))
    assert 'total variation 0.810, above the 0.000 of the others among themselves' in line
    (line,) = reading.read_layers(one_run(tmp_path / 'b', [[FLAT], [FLAT], [SHARP]]))
    assert 'total variation 0.405, below the 0.810 of the others among themselves' in line
    (line,) = reading.read_layers(one_run(tmp_path / 'c', [[FLAT], [SHARP]]))
    assert 'total variation 0.810' in line and 'others among themselves' not in line


def test_coverage_sentence_gives_the_mass_of_the_four_largest(tmp_path):
    (line,) = reading.read_coverage(one_run(tmp_path, [[FLAT, SHARP], [FLAT, SHARP]]))
    # (0.4 + 0.94) / 2; one of the two nodes is covered.
    assert 'hold 0.670 of the mass' in line and 'a share of 0.500 of these nodes' in line


def test_edge_type_sentence_compares_mass_with_the_share_of_edges(tmp_path):
    (line,) = reading.read_edge_types(one_run(tmp_path, [[[0.5, 0.125, 0.375]]], [[0, 1, 2]]))
    assert 'graph 0.500, more than their share of the edges, 0.333' in line
    assert 'expander 0.125, less than their share of the edges, 0.333' in line


def test_kept_sentence_gives_the_least_power_of_two(tmp_path):
    (line,) = reading.read_kept(one_run(tmp_path, [[FLAT] * 500, [SHARP] * 500]))
    assert 'K = 8 in layer 0, 1 in layer 1' in line


def test_distance_sentence_says_which_baselines_are_further(tmp_path):
    for seed, row in enumerate((SHARP, SHARP, SHARP)):
        saved(tmp_path / f'{seed}', toy_scores([[row] * 50], seed=seed))
    near = reading.read_distances(measure(find_runs(tmp_path)))
    assert any(
        'energy distance' in line and 'closer than uniform and random: width 4 0.000' in line for line in near
    )
    for seed in range(3, 6):
        saved(
            tmp_path / 'far' / f'{seed}',
            toy_scores([[np.roll(SHARP, seed).tolist()] * 50], seed=seed),
        )
    far = reading.read_distances(measure(find_runs(tmp_path / 'far')))
    # The same values on other edges: near by energy distance, far by total variation.
    assert any('energy' in line and 'closer than uniform and random' in line for line in far)
    assert any('total variation' in line and 'further than' in line for line in far)
