"""Spread over runs, and what may be called different."""

import math

import pandas as pd
import pytest
import scipy.stats

from graphgps_ext.analysis import confidence_interval, over_runs
from graphgps_ext.analysis.reading import interval_text, is_below


def test_interval_is_students():
    values = [0.1, 0.4, 0.2, 0.25, 0.3]
    mean, low, high = confidence_interval(values)
    wanted = scipy.stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert (mean, low, high) == pytest.approx((0.25, wanted.low, wanted.high))


def test_interval_worked_by_hand():
    # s = √2, t for 1 degree of freedom at 97.5 % is 12.706: ± 12.706 · √2 / √2.
    assert confidence_interval([1.0, 3.0]) == pytest.approx((2, 2 - 12.7062, 2 + 12.7062), abs=1e-4)


def test_one_run_has_no_interval():
    mean, low, high = confidence_interval([0.5, math.nan])
    assert mean == 0.5 and math.isnan(low) and math.isnan(high)
    assert interval_text(mean, low, high) == '0.500'
    assert interval_text(0.5, 0.25, 0.75) == '0.500 [0.250, 0.750]'
    assert interval_text(*confidence_interval([math.nan])) == '–'


def test_runs_are_averaged_within_what_names_a_quantity():
    frame = pd.DataFrame(
        {'layer': [0, 0, 1, 1], 'run': ['0', '1'] * 2, 'nodes': 9, 'mean': [1.0, 3.0, 5.0, 5.0]}
    )
    table = over_runs(frame)
    assert table['layer'].to_list() == [0, 1]
    assert table['runs'].to_list() == [2, 2]
    assert table['mean'].to_list() == [2, 5]
    assert table['low'].to_list() == pytest.approx([2 - 12.7062, 5], abs=1e-4)


def test_differences_are_judged_run_by_run():
    hard, easy = pd.Series({'0': 0.9, '1': 0.1, '2': 0.5}), pd.Series({'2': 0.6, '0': 1.01, '1': 0.2})
    assert is_below(hard, easy) is True  # by 0.1 in every run, though the intervals overlap
    assert is_below(easy, hard) is False
    assert is_below(hard, pd.Series({'0': 0.8, '1': 0.2, '2': 0.5})) is None
    assert is_below(pd.Series({'0': 0.1}), pd.Series({'0': 0.2})) is True
