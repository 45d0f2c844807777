"""Figures: which there are, what they show, that their labels can be read."""

from __future__ import annotations

from pathlib import Path

import fake_runs
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Annotation, Text
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from graphgps_ext.benchmark.collect import collect
from graphgps_ext.benchmark.figures import make_figures, model_colors, write_figures
from graphgps_ext.train.results import finish as mark_finished

PNG = b'\x89PNG\r\n\x1a\n'


@pytest.fixture
def frame(tmp_path: Path) -> pd.DataFrame:
    for number in range(12):
        changes = {'seconds_total': 10.0 + number % 3, 'peak_rss_mb': 700.0 + number, 'kept_share': 100.0}
        fake_runs.fake_result(tmp_path, f'Model-{number}', [0.5 + number / 500] * 2, **changes)
    return collect([tmp_path])[0]


def test_accuracy_is_shown_against_each_cost_with_units(frame: pd.DataFrame) -> None:
    figures = make_figures(frame)
    assert list(figures) == [f'actor-accuracy-{cost}' for cost in ('memory', 'time', 'edges')]
    labels = [figure.axes[0].get_xlabel() for figure in figures.values()]
    assert [label.rpartition(' ')[2] for label in labels] == ['[MB]', '[s]', '[%]']
    assert labels[0].startswith('process memory')
    assert all(f.axes[0].get_ylabel() == 'test accuracy, mean ± std of 2 runs' for f in figures.values())


def test_gpu_memory_is_shown_where_every_model_ran_on_one(tmp_path: Path) -> None:
    fake_runs.fake_result(tmp_path, 'A', [0.5], peak_gpu_mb=10.0)
    fake_runs.fake_result(tmp_path, 'B', [0.6], peak_gpu_mb=2000.0)
    axes = make_figures(collect([tmp_path])[0])['actor-accuracy-memory'].axes[0]
    assert axes.get_xlabel().startswith('GPU memory') and axes.get_xscale() == 'log'


def test_costs_on_a_cpu_and_on_a_gpu_share_no_figure(tmp_path: Path) -> None:
    for name in ('A', 'B'):
        fake_runs.fake_result(tmp_path, name, [0.5], device='cuda:0', peak_gpu_mb=10.0)
    fake_runs.fake_result(tmp_path, 'C', [0.6], device='cpu', peak_gpu_mb=0.0)
    figures = make_figures(collect([tmp_path])[0])
    shown = {}
    for cost in ('memory', 'time', 'edges'):
        axes = figures[f'actor-accuracy-{cost}'].axes[0]
        texts = [child.get_text() for child in axes.get_children() if isinstance(child, Annotation)]
        shown[cost] = sorted(texts)
    assert shown == {'memory': ['A', 'B'], 'time': ['A', 'B'], 'edges': ['A', 'B', 'C']}


def test_every_model_is_labelled_once_and_no_label_hides_another(frame: pd.DataFrame) -> None:
    for figure in make_figures(frame).values():
        texts = [child for child in figure.axes[0].get_children() if isinstance(child, Annotation)]
        assert sorted(text.get_text() for text in texts) == sorted(set(frame['model']))
        canvas = FigureCanvasAgg(figure)
        canvas.draw()  # moves the texts to where they are seen
        boxes = [Text.get_window_extent(text, canvas.get_renderer()) for text in texts]
        overlaps = [(i, j) for i, box in enumerate(boxes) for j in range(i) if box.overlaps(boxes[j])]
        assert not overlaps


def test_models_keep_their_colour() -> None:
    assert model_colors(['b', 'a', 'c']) == model_colors(['c', 'b', 'a'])
    many = model_colors([f'm{i}' for i in range(20)])
    assert len({*many.values()}) == 20


def test_batch_size_has_a_figure_only_where_it_varies(tmp_path: Path) -> None:
    for size in (128, 512):
        folders = fake_runs.fake_result(tmp_path, f'Spexphormer-batch={size}-lr=0.1', [0.5, 0.6])
        for folder in folders:
            path = folder / 'config.yaml'
            path.write_text(path.read_text().replace('16', str(size)).replace('full_batch', 'spex_neighbor'))
            mark_finished(folder)
    fake_runs.fake_result(tmp_path, 'GCN', [0.5])
    figures = make_figures(collect([tmp_path])[0])
    figure: Figure = figures['actor-batch-size']
    assert [axes.get_ylabel().partition(' [')[0] for axes in figure.axes] == [
        'time per epoch',
        'process memory, peak of training',
        'test metric',
    ]
    lines = figure.axes[0].get_legend_handles_labels()
    assert lines[1] == ['Spexphormer-lr=0.1']
    assert list(lines[0][0][0].get_xdata()) == [128, 512]


def test_files_and_tensorboard_hold_the_figures_of_the_last_call(tmp_path: Path, frame: pd.DataFrame) -> None:
    folder = tmp_path / 'figures'
    write_figures(frame, folder, 'older')
    written = write_figures(frame, folder, '| a table |')
    assert all(path.read_bytes().startswith(PNG) for path in written) and len(written) == 3
    (events,) = folder.glob('events.*')
    board = EventAccumulator(str(events))
    board.Reload()
    assert sorted(board.Tags()['images']) == sorted(path.stem for path in written)
    (table,) = board.Tensors('table/text_summary')
    assert table.tensor_proto.string_val[0] == b'| a table |'
