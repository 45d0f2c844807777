"""Processes forked from a warm server: what they find there, what they take with them, how they end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

import graphgps_ext
from graphgps_ext.benchmark import workers
from graphgps_ext.benchmark.workers import Worker


def ended(worker: Worker) -> Worker:
    assert workers.wait([worker], seconds=120) == [worker]
    return worker


def told(work: Callable[[], dict[str, Any]], tmp_path: Path, **options: Any) -> dict[str, Any]:
    """What a process says of itself."""
    log = tmp_path / f'{time.monotonic_ns()}.log'
    worker = ended(workers.start(partial(tell, work), log=log, **options))
    assert worker.code == 0, log.read_text()
    return json.loads(log.read_text().splitlines()[1])


def tell(work: Callable[[], dict[str, Any]]) -> int:
    print(json.dumps(work()))
    return 0


def of_server() -> dict[str, Any]:
    return {
        'server': os.getppid(),
        'package': graphgps_ext.__file__,
        'warm': 'graphgps_ext.benchmark.warm' in sys.modules,
        'cuda': torch.cuda.is_initialized() or torch.cuda._is_in_bad_fork(),
    }


def test_server_has_imported_everything_and_touched_nothing(tmp_path: Path) -> None:
    first, second = (told(of_server, tmp_path) for _ in range(2))
    assert first['warm'] and not first['cuda']
    assert first['server'] == second['server'] != os.getpid()
    assert first['package'] == graphgps_ext.__file__


def test_importing_what_the_server_imports_leaves_the_gpu_alone() -> None:
    # A CUDA build of torch wakes the driver to list its settings: then no fork can use a GPU any more.
    watched = (
        'import importlib, torch\n'
        'asked = []\n'
        'torch.__config__.show = lambda: asked.append(1) or ""\n'
        'import graphgps_ext.benchmark.warm\n'
        'ours = len(asked)\n'
        'import torch_geometric.typing\n'
        'importlib.reload(torch_geometric.typing)\n'
        'print(ours, len(asked))'
    )
    told = subprocess.run([sys.executable, '-W', 'ignore', '-c', watched], capture_output=True, text=True)
    assert told.stdout.strip() == '0 1', told.stderr  # PyG as others import it asks once


def of_process() -> dict[str, Any]:
    return {
        'folder': os.getcwd(),
        'variable': os.environ.get('WORKERS_TEST'),
        'gpus': os.environ.get('CUDA_VISIBLE_DEVICES'),
        'safe path': os.environ.get('PYTHONSAFEPATH'),
        'leads its session': os.getsid(0) == os.getpid(),
    }


def test_process_has_the_folder_and_the_variables_of_its_parent_and_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv('WORKERS_TEST', 'set after the server has started')
    monkeypatch.delenv('PYTHONSAFEPATH', raising=False)
    assert told(of_process, tmp_path, environment={'CUDA_VISIBLE_DEVICES': '3'}) == {
        'folder': str(tmp_path),
        'variable': 'set after the server has started',
        'gpus': '3',
        'safe path': None,
        'leads its session': True,
    }


def sleep(seconds: float, mark: Path) -> int:
    mark.write_text(str(os.getpid()))
    time.sleep(seconds)
    return 0


def wait_for(mark: Path) -> int:
    """The id of the process that writes it there."""
    deadline = time.monotonic() + 120
    while not (mark.exists() and mark.read_text()):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return int(mark.read_text())


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_second_process_leaves_a_log_in_use_alone(tmp_path: Path) -> None:
    log = tmp_path / 'log'
    first = workers.start(partial(sleep, 60, tmp_path / 'first'), log=log)
    wait_for(tmp_path / 'first')
    second = ended(workers.start(partial(sleep, 60, tmp_path / 'second'), log=log))
    assert second.code == workers.BUSY and not (tmp_path / 'second').exists()
    assert second.reason() == 'is running in another process at this moment'
    workers.stop([first])
    assert first.code == 1 and log.read_text().count('$ ') == 1
    assert ended(workers.start(partial(sleep, 0, tmp_path / 'second'), log=log)).code == 0


def stubborn(mark: Path) -> int:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    return sleep(60, mark)


def test_process_that_does_not_listen_is_stopped_by_force(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, 'GRACE_SECONDS', 1.0)
    worker = workers.start(partial(stubborn, tmp_path / 'mark'), log=tmp_path / 'log')
    pid = wait_for(tmp_path / 'mark')
    workers.stop([worker])
    assert worker.code == -signal.SIGKILL and not is_alive(pid)


@pytest.mark.slow
def test_end_of_the_server_is_told_and_nothing_is_left(tmp_path: Path) -> None:
    server = told(of_server, tmp_path)['server']
    worker = workers.start(partial(sleep, 60, tmp_path / 'mark'), log=tmp_path / 'log')
    pid = wait_for(tmp_path / 'mark')
    os.kill(server, signal.SIGKILL)
    assert ended(worker).reason().startswith('the server that starts processes has ended')
    deadline = time.monotonic() + 10
    while is_alive(pid):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert told(of_server, tmp_path)['server'] != server  # the next one starts another


def on_gpu() -> dict[str, Any]:
    return {'sum': float(torch.ones(3, device='cuda').sum()), 'count': torch.cuda.device_count()}


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a CUDA device')
def test_process_can_use_the_gpu_it_is_given(tmp_path: Path) -> None:
    for _ in range(2):
        assert told(on_gpu, tmp_path, environment={'CUDA_VISIBLE_DEVICES': '0'}) == {'sum': 3.0, 'count': 1}
