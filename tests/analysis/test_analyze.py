"""`graphgps-ext analyze`: from a command to a report, and its messages."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import runs
from stores import random_scores, saved

from graphgps_ext.commands import main

CONFIG = str(runs.CONFIGS['estimator'])
SMALL = [str(part) for pair in {**runs.SMALL, 'optim.max_epoch': 2}.items() for part in pair]
Analyze = Callable[..., str]


@pytest.fixture
def analyze(capsys: pytest.CaptureFixture[str], graphgym_cfg) -> Analyze:
    """Runs the command in this process and gives what it prints."""

    def call(*arguments: object) -> str:
        main(['analyze', *map(str, arguments)])
        return capsys.readouterr().out

    return call


@pytest.fixture
def refusal(analyze: Analyze, capsys: pytest.CaptureFixture[str]) -> Analyze:
    """The message with which it exits."""

    def call(*arguments: object) -> str:
        with pytest.raises(SystemExit) as caught:
            analyze(*arguments)
        return f'{caught.value.code} {capsys.readouterr().err}'

    return call


def test_a_family_is_trained_compared_and_not_trained_again(tmp_path: Path, analyze: Analyze) -> None:
    command = ['--widths', '2,4', '--seeds', 1, '--cfg', CONFIG, '--runs', tmp_path, *SMALL]
    analyze(*command)
    text = (tmp_path / 'analysis' / 'report.md').read_text()
    for network in ('width 2', 'width 4', 'width 2, no expander', 'width 4, no expander'):
        assert re.search(rf'^\| {network} +\|', text, re.MULTILINE)
    summaries = sorted(tmp_path.rglob('summary.json'))
    assert len(summaries) == 4
    manifests = [json.loads(path.read_text()) for path in tmp_path.rglob('scores/manifest.json')]
    assert len({m['graph_fingerprint'] for m in manifests}) == 2  # with expander and without
    before = [path.stat().st_mtime_ns for path in summaries]
    assert '2 runs' in analyze(*['2' if part == '2,4' else part for part in command])
    assert [path.stat().st_mtime_ns for path in summaries] == before


def test_a_store_of_somebody_else_is_analysed_where_it_lies(tmp_path: Path, analyze: Analyze) -> None:
    path = saved(tmp_path / 'run', random_scores())
    printed = analyze(path, '--suggest-degrees', 0.8)
    assert 'width 4, run 0: spex.layer_degrees "[' in printed
    folder = tmp_path / 'run' / 'analysis'
    assert (folder / 'suggested_degrees.csv').is_file()
    text = (folder / 'report.md').read_text()
    assert '## Suggested degrees' in text and 'Command: `graphgps-ext analyze ' in text and 'revision' in text
    assert f'report: {folder / "report.md"}' in printed


def test_bad_scores_leave_no_report(tmp_path: Path, refusal: Analyze) -> None:
    path = saved(tmp_path / 'run', random_scores())
    array = np.load(path / 'layer_0.npy')
    array[0] = np.nan
    np.save(path / 'layer_0.npy', array)
    assert 'layer_0.npy is damaged: ' in refusal(path, '--out', tmp_path / 'out')
    assert not (tmp_path / 'out').exists()


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        ('{tmp}/nowhere', 'nowhere is no folder'),
        ('', 'one folder is needed, or --widths and --cfg, got nothing'),
        ('a b', "one folder is needed, or --widths and --cfg, got ['a', 'b']"),
        ('--cfg {cfg}', '--cfg trains a family of networks: it needs --widths'),
        ('--widths 4', '--widths needs --cfg'),
        ('{tmp} --suggest-degrees 1.5', '--suggest-degrees needs a share between 0 and 1, got 1.5'),
        ('--widths 4,x --cfg {cfg}', "--widths needs different whole numbers from 1 up, such as 4,8,16,32"),
        ('--widths 4,4 --cfg {cfg}', "different whole numbers from 1 up, such as 4,8,16,32,64, got '4,4'"),
        ('--widths 4 --reference 8 --cfg {cfg}', '--reference 8 needs to be one of --widths 4'),
        ('--widths 4 --seeds 0 --cfg {cfg}', '--seeds needs to be at least 1, got 0'),
        ('--widths 4 --cfg {cfg} prep.exp False', 'prep.exp is set for each network of a family'),
        ('--widths 4 --cfg {cfg} run_multiple_splits [0,1]', 'a family has seeds on one split'),
        ('--widths 4 --cfg none.yaml', 'there is no config file none.yaml'),
        ('--widths 4 --cfg {wide}', 'train.mode needs to be spexphormer_estimator, got full_graph'),
    ],
)  # fmt: skip
def test_what_cannot_be_analysed_is_refused_with_one_message(
    arguments: str, message: str, tmp_path: Path, refusal: Analyze
) -> None:
    places = {'tmp': tmp_path, 'cfg': CONFIG, 'wide': runs.CONFIGS['Exphormer']}
    assert message in refusal(*arguments.format(**places).split())
    assert not list(tmp_path.iterdir())


def test_a_network_that_cannot_be_trained_is_named(tmp_path: Path, refusal: Analyze) -> None:
    runs_of = ['--seeds', 1, '--cfg', CONFIG, '--runs', tmp_path / 'runs']
    message = refusal('--widths', 2, *runs_of, 'dataset.format', 'PyG-nothing')
    assert 'error: width 2, expander, was not trained: dataset.format needs one of ' in message
    assert 'the same command again goes on from here' in message
