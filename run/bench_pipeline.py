"""What an epoch of each model costs on one graph, and what of it the device works; what a run costs beside.

    python run/bench_pipeline.py dataset.dir DIR                       Tolokers, this machine's device
    python run/bench_pipeline.py --dataset minesweeper-grid --epochs 20
    python run/bench_pipeline.py --models estimator,spexphormer,GCN dataset.dir DIR
    python run/bench_pipeline.py --json pipeline.json dataset.dir DIR  rows as JSON as well

Each model is trained as its shipped config says, for `--epochs` epochs with an evaluation after each. ms is
the median epoch, with draws, evaluation and metrics, of all but the first three (which compile and record)
and the last ones, which run under torch's profiler. Of those: on a GPU, device ms and busy are the time in
which it works, launches and waits the calls of the host, per epoch; on a CPU, attention, block (all other
operators of torch), waiting for batches, and engine (Python, logs, checkpoints) are shares in %. eager is the
median epoch without CUDA graphs. start-up is what a command takes beside its epochs, in a process of its own.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

import torch
from bench_harness import CONFIGS, RUN, parser, print_table, run_script, write_json
from torch.profiler import ProfilerActivity, profile
from torch_geometric.graphgym.config import cfg

from graphgps_ext.config.load import load_config
from graphgps_ext.provenance import describe
from graphgps_ext.train.runs import choose_run, run_once
from graphgps_ext.train.stats import read_stats

MODELS = (
    'estimator', 'spexphormer', 'SpexphormerPlus', 'Exphormer', 'GCN', 'ResGCN', 'GraphSAGE', 'GATv2',
    'SGFormer', 'Polynormer', 'GPS', 'GPSPerformer', 'LINKX', 'MLP',
)  # fmt: skip
ON_GPU = ('ms', 'eager', 'device_ms', 'busy', 'launches', 'waits', 'peak_gpu_mb', 'startup')
ON_CPU = ('ms', 'attention', 'block', 'waiting', 'engine', 'peak_rss_mb', 'startup')
ATTENTION = ('EagerAttention', 'EagerAttentionBackward')
LAUNCHES = ('cudaLaunch', 'cuLaunch', 'cudaGraphLaunch', 'cudaMemcpy', 'cudaMemset')
WAITS = ('cudaStreamSynchronize', 'cudaDeviceSynchronize', 'cudaEventSynchronize')
FIRST, PROFILED, LAST = 3, 5, 1  # epochs: not counted, under the profiler, and with a checkpoint


def config_of(model: str, dataset: str) -> Path:
    """The shipped config of a model."""
    folder = 'Spexphormer' if model in ('estimator', 'spexphormer') else model
    return CONFIGS / folder / f'{dataset}-{model}.yaml'


def train(config: Path, keys: Sequence[str], *, profiled: bool) -> dict[str, Any]:
    """A run in this process: its row of the table."""
    load_config(cfg, config, list(keys))
    torch.set_num_threads(cfg.num_threads)
    choose_run(Path(cfg.out_dir) / config.stem, 0)
    on_gpu, epochs = torch.cuda.is_available() and cfg.accelerator != 'cpu', cfg.optim.max_epoch
    profiler = profile(activities=[ProfilerActivity.CPU, *[ProfilerActivity.CUDA] * on_gpu])
    clock = [0.0, 0.0]

    def after_evaluation(epoch: int, best: float) -> None:
        if profiled and epoch == epochs - PROFILED - LAST - 1:
            profiler.start()
            clock[0] = time.perf_counter()
        elif profiled and epoch == epochs - LAST - 1:
            clock[1] = time.perf_counter()
            profiler.stop()

    run_once(after_evaluation)
    folder = Path(cfg.run_dir)
    summary = json.loads((folder / 'summary.json').read_text())
    rows = read_stats(folder, 'train')
    counted = rows[FIRST : len(rows) - PROFILED - LAST]
    row = {'ms': 1e3 * median(epoch['time_epoch'] for epoch in counted)}
    row |= {key: summary[key] for key in ('params', 'peak_rss_mb', 'peak_gpu_mb')}
    if profiled:
        waiting = sum(epoch['time_waiting'] for epoch in rows[-PROFILED - LAST : -LAST])
        row |= work_of_gpu(profiler, row['ms']) if on_gpu else shares(profiler, clock[1] - clock[0], waiting)
    return row


def work_of_gpu(profiler: Any, ms: float) -> dict[str, float]:
    """What the device did in an epoch, and how often the host called it."""
    events = profiler.key_averages()
    busy = sum(event.self_device_time_total for event in events) / 1e3 / PROFILED
    counts = {
        name: sum(event.count for event in events if event.key.startswith(calls)) / PROFILED
        for name, calls in (('launches', LAUNCHES), ('waits', WAITS))
    }
    return {'device_ms': busy, 'busy': 100 * busy / ms, **counts}


def shares(profiler: Any, seconds: float, waiting: float) -> dict[str, float]:
    """Where the time of a CPU went, in %."""
    events = profiler.key_averages()
    attention = sum(event.cpu_time_total for event in events if event.key in ATTENTION) / 1e6
    operators = sum(event.self_cpu_time_total for event in events) / 1e6
    spent = {'attention': attention, 'block': operators - attention, 'waiting': waiting}
    spent['engine'] = seconds - sum(spent.values())
    return {name: 100 * part / seconds for name, part in spent.items()}


def startup(config: Path, keys: Sequence[str], out: Path) -> float:
    """Seconds of a command beside its epochs."""
    start = time.perf_counter()
    run_script([str(RUN / 'main.py'), '--cfg', str(config), *keys, 'out_dir', str(out)], config.name)
    seconds = time.perf_counter() - start
    return seconds - sum(epoch['time_epoch'] for epoch in read_stats(out / config.stem / '0', 'train'))


def main(argv: Sequence[str] | None = None) -> None:
    """Trains everything and prints one table."""
    options = parser(__doc__)
    options.add_argument('--dataset', default='tolokers', help='as in the names of config files')
    options.add_argument(
        '--epochs', type=int, default=40, help=f'more than {FIRST + PROFILED + LAST} (%(default)s)'
    )
    options.add_argument('--models', default=','.join(MODELS), help='of %(default)s (all)')
    options.add_argument('keys', nargs='*', help='keys and values for every run')
    args = options.parse_intermixed_args(argv)
    on_gpu = torch.cuda.is_available()
    keys = ['num_threads', str(torch.get_num_threads()), 'spex.eval_draws', '1', 'seed', '0', *args.keys]
    keys += ['optim.max_epoch', str(args.epochs), 'train.eval_period', '1', 'run_multiple_splits', '[]']
    print(describe(torch.device('cuda' if on_gpu else 'cpu')))
    print(f'{args.dataset}: shipped configs, {args.epochs} epochs\n', flush=True)
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        for model in args.models.split(','):
            config = config_of(model, args.dataset)
            if not config.is_file():
                print(f'{model}: no config for {args.dataset}')
                continue
            row = train(config, [*keys, 'out_dir', str(out / 'runs')], profiled=True)
            if on_gpu:
                eager = [*keys, 'train.cuda_graphs', 'False', 'spex.estimator', str(out / 'runs')]
                eager[-1] += f'/{args.dataset}-estimator'
                row['eager'] = train(config, [*eager, 'out_dir', str(out / 'eager')], profiled=False)['ms']
            if model == 'estimator':
                row['startup'] = startup(config, keys, out / 'process')
            rows.append({'model': model, **row})
            print_table(rows[-1:], ('model', *(ON_GPU if on_gpu else ON_CPU)))
    print_table(rows, ('model', *(ON_GPU if on_gpu else ON_CPU)))
    write_json(args.json, rows)


if __name__ == '__main__':
    sys.exit(main())
