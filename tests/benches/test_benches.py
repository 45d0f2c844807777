"""Every benchmark script runs its smallest case on the CPU, and says what it should."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import time
from contextlib import redirect_stdout
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import runs
import torch

from graphgps_ext.commands import main

SCRIPTS = sorted(path.stem for path in (runs.REPOSITORY / 'run').glob('bench_*.py'))
# Scripts that are imported by the others.
PARTS = {'bench_harness', 'bench_attention_cases'}
SMALL = ['dataset.grid_side', '12', 'prep.exp_deg', '2', 'accelerator', 'cpu', 'num_threads', '1']


def load(name: str, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(runs.REPOSITORY / 'run'))
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    return runs.load_script(name)


@pytest.fixture
def in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """The scripts that a bench starts run here: a process of their own would import for nine seconds each."""
    elsewhere = subprocess.run

    def run(command: list[str], **options: Any) -> Any:
        if command[0] != sys.executable:  # git
            return elsewhere(command, **options)
        with redirect_stdout(io.StringIO()) as printed, runs.as_if_alone():
            if command[2] == '--profile':
                sys.modules[Path(command[1]).stem].profiled(Path(command[3]), command[4:])
            else:
                main(['train', *command[2:]])
        return SimpleNamespace(returncode=0, stdout=printed.getvalue())

    monkeypatch.setattr(subprocess, 'run', run)


def test_no_script_is_left_out() -> None:
    tested = {name.removeprefix('test_') for name in globals() if name.startswith('test_bench_')}
    assert {*SCRIPTS} - PARTS <= tested


def lines_of(text: str) -> list[list[str]]:
    return [line.split() for line in text.splitlines()]


def test_bench_attention(monkeypatch: pytest.MonkeyPatch, capsys, tmp_path: Path) -> None:
    bench = load('bench_attention', monkeypatch)
    file = tmp_path / 'rows.json'
    bench.main(['--groups', 'tiny', '--seconds', '0.01', '--json', str(file)])
    rows = json.loads(file.read_text())
    measured = {(row['case'].partition(',')[0], row['impl']) for row in rows}
    for impl in ('numba', 'scatter', 'torch', 'GCNConv', 'GATv2Conv'):
        assert {('graph 200 x 5', impl), ('table 200 x 5', impl)} <= measured
    assert ('table 200 x 5', 'gather_matmul') in measured
    assert all(row['equal'] and row['ms'] > 0 and row['floor_ms'] > 0 for row in rows)
    printed = capsys.readouterr().out
    assert 'copy' in printed and list(bench.COLUMNS) in lines_of(printed)


def test_bench_attention_does_not_time_what_is_wrong(monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    bench = load('bench_attention', monkeypatch)
    right = bench.scattered
    monkeypatch.setattr(bench, 'scattered', lambda problem: 1.01 * right(problem))
    with pytest.raises(SystemExit, match='differs from the float64 reference'):
        bench.main(['--groups', 'tiny', '--seconds', '0.001', '--impl', 'scatter'])
    assert 'NOT EQUAL, hence not timed: table 200 x 5' in capsys.readouterr().out


def test_bench_sampling(monkeypatch: pytest.MonkeyPatch, capsys, tmp_path: Path) -> None:
    bench = load('bench_sampling', monkeypatch)
    file = tmp_path / 'rows.json'
    bench.main(['--groups', 'tiny', '--seconds', '0.01', '--json', str(file)])
    rows = json.loads(file.read_text())
    draws = ('numba', 'prepared', 'numba, uniform', 'numba, top')
    walks = ('draw + relabel', 'torch relabel', 'numba relabel')
    tables = ('draw + transpose', 'draw', 'transpose')
    assert [row['impl'] for row in rows] == [*draws, *draws, *walks, *tables]
    assert all(row['ms'] > 0 and row['ns_per_edge'] > 0 for row in rows)
    assert list(bench.COLUMNS) in lines_of(capsys.readouterr().out)


def test_bench_sampling_refuses_other_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = load('bench_sampling', monkeypatch)
    right = bench.row_sums
    monkeypatch.setattr(bench, 'row_sums', lambda graph, weights: right(graph, torch.ones_like(weights)))
    with pytest.raises(AssertionError, match='prepared draws edges of another mean log-weight than numba'):
        bench.main(['--groups', 'tiny', '--seconds', '0.001'])


def test_bench_pipeline(
    monkeypatch: pytest.MonkeyPatch, capsys, tmp_path: Path, in_this_process: None
) -> None:
    bench = load('bench_pipeline', monkeypatch)
    file = tmp_path / 'rows.json'
    options = ['--dataset', 'minesweeper-grid', '--epochs', '11', '--models', 'estimator,spexphormer,GCN']
    with runs.as_if_alone():  # it trains in this process
        bench.main([*options, '--json', str(file), *SMALL, 'gt.layers', '1', 'spex.layer_degrees', '[3]'])
    rows = json.loads(file.read_text())
    assert [row['model'] for row in rows] == ['estimator', 'spexphormer', 'GCN']
    for row in rows:
        assert sum(row[share] for share in bench.ON_CPU[1:5]) == pytest.approx(100)
        assert row['ms'] > 0 and 0 < row['block'] < 100
        assert (row['attention'] > 0) == (row['model'] != 'GCN')
    assert rows[0]['startup'] > 0
    assert ['model', *bench.ON_CPU] in lines_of(capsys.readouterr().out)


def test_bench_large(monkeypatch: pytest.MonkeyPatch, capsys, tmp_path: Path, in_this_process: None) -> None:
    bench = load('bench_large', monkeypatch)
    file = tmp_path / 'rows.json'
    keys = ['prep.exp_deg', '2', 'accelerator', 'cpu', 'num_threads', '1', 'gt.attention_impl', 'torch']
    bench.main(['--nodes', '300', '--edges', '2000', '--json', str(file), *keys])
    rows = json.loads(file.read_text())
    assert [row['case'] for row in rows] == ['stage1', 'stage2-full-batch', 'stage2']
    assert [row['epochs'] for row in rows] == [5, 5, 2]
    # At most 2,000 directed edges and 2 · 2 in-edges per node of the expander; K = 50 and 30 in stage 2.
    assert 300 * 2 < rows[0]['edges'] <= 2000 + 300 * 4
    assert list(bench.COLUMNS) in lines_of(capsys.readouterr().out)


def test_a_run_that_fails_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = load('bench_large', monkeypatch)
    failed = SimpleNamespace(returncode=1, stderr='error: no such key')
    monkeypatch.setattr(subprocess, 'run', lambda *_, **__: failed)
    with pytest.raises(SystemExit, match=r'proteins-estimator\.yaml failed:\nerror: no such key'):
        bench.main(['--nodes', '30', '--edges', '100'])


def test_extra_memory_and_time_of_a_known_call(monkeypatch: pytest.MonkeyPatch) -> None:
    harness = load('bench_harness', monkeypatch)
    found = harness.extra_mb(lambda: torch.ones(10_000_000), 'cpu')  # 40 MB
    assert found is None or 35 < found < 60
    wall = harness.median_ms(lambda: time.sleep(0.002), 'cpu', seconds=0.02)
    work = harness.median_ms(lambda: time.sleep(0.002), 'cpu', seconds=0.002, clock=time.process_time)
    assert wall >= 2 > 1 > work
