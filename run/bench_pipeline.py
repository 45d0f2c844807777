"""Both stages end to end against other models at equal width on one graph, all of them through main.py.

    python run/bench_pipeline.py dataset.dir DIR                       Tolokers, this machine's device
    python run/bench_pipeline.py --dataset minesweeper-grid --epochs 5
    python run/bench_pipeline.py --json pipeline.json dataset.dir DIR  rows as JSON as well

Each row is a process of its own that trains for `--epochs` epochs with an evaluation after each, as a
user's run does; ms is the median epoch, and of both stages that of an epoch of the whole: each stage for as
many epochs as its config has. "reference" is Spexphormer with the plain-torch operator; the first losses of
the two must agree. A second run of each stage of ours is made under torch's profiler: all its epochs but the
first are split into attention, block (all other operators of torch), waiting for batches, and engine (Python,
logs, checkpoints), in % of their time.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import yaml
from bench_harness import CONFIGS, RUN, parser, print_table, run_script, write_json
from torch.profiler import ProfilerActivity, profile
from torch_geometric.graphgym.config import cfg

from graphgps_ext.config.load import load_config
from graphgps_ext.provenance import describe
from graphgps_ext.train.runs import choose_run, run_once

SHARES = ('attention', 'block', 'waiting', 'engine')
COLUMNS = ('case', 'impl', 'ms', 'slower', 'peak_rss_mb', 'peak_gpu_mb', *SHARES)
# The keys that set width and number of layers of each model.
PEERS = {
    'Exphormer': 'gt.dim_hidden {width} gnn.dim_inner {width} gt.layers {layers}',
    'GCN': 'gnn.dim_inner {width} gnn.layers_mp {layers}',
    'GATv2': 'gnn.dim_inner {width} gnn.layers_mp {layers}',
    'SGFormer': 'gt.dim_hidden {width} gnn.layers_mp {layers}',
    'Polynormer': 'gt.dim_hidden {width} gt.n_heads 1 gnn.layers_mp {layers} gt.local_epochs 0',
}
# The operators as they are registered with torch.
ATTENTION = ('graphgps_ext::sparse_attention', 'graphgps_ext::sparse_attention_backward')
# How far apart the first losses may be: in stage 2 the two draw by scores of their own, which round apart.
ALIKE = {'estimator': 1e-4, 'spexphormer': 0.05}


def profiled(config: Path, keys: list[str]) -> None:
    """A run whose epochs but the first are profiled; the last line is their seconds, as JSON.

    Those in all, in the attention and in all operators of torch: of the GPU where there is one.
    """
    load_config(cfg, config, keys)
    torch.set_num_threads(cfg.num_threads)
    choose_run(Path(cfg.out_dir) / config.stem, 0)
    on_gpu = torch.cuda.is_available()
    profiler = profile(activities=[ProfilerActivity.CPU, *[ProfilerActivity.CUDA] * on_gpu])
    clock = [0.0, 0.0]

    def after_evaluation(epoch: int, best: float) -> None:
        if on_gpu:
            torch.cuda.synchronize()
        if epoch == 0:
            profiler.start()
            clock[0] = time.perf_counter()
        elif epoch == cfg.optim.max_epoch - 1:
            clock[1] = time.perf_counter()
            profiler.stop()

    run_once(after_evaluation)
    kind, events = 'device' if on_gpu else 'cpu', profiler.key_averages()
    attention = sum(getattr(event, f'{kind}_time_total') for event in events if event.key in ATTENTION)
    operators = sum(getattr(event, f'self_{kind}_time_total') for event in events)
    print(json.dumps([clock[1] - clock[0], attention / 1e6, operators / 1e6]))


def train(config: Path, out: Path, keys: list[str], *, profiling: bool = False) -> dict[str, Any]:
    """summary.json of a run with its first training loss; with `profiling` also where the time went, in %."""
    script = [__file__, '--profile'] if profiling else [str(RUN / 'main.py'), '--cfg']
    printed = run_script([*script, str(config), *keys, 'out_dir', str(out)], config.name)
    run_dir = next((out / config.stem).glob('[0-9]*'))
    summary = json.loads((run_dir / 'summary.json').read_text())
    epochs = [json.loads(line) for line in (run_dir / 'train' / 'stats.json').read_text().splitlines()]
    summary['first_loss'] = epochs[0]['loss']
    if profiling:
        seconds, attention, operators = json.loads(printed.splitlines()[-1])
        waiting = sum(epoch['time_waiting'] for epoch in epochs[1:])
        spent = (attention, operators - attention, waiting, seconds - operators - waiting)
        summary |= {name: round(100 * part / seconds, 1) for name, part in zip(SHARES, spent, strict=True)}
    return summary


def row_of(case: str, name: str, summary: dict[str, Any], width: int) -> dict[str, Any]:
    kept = {key: summary[key] for key in ('device', 'peak_rss_mb', 'peak_gpu_mb', 'params')}
    return {'case': case, 'impl': name, 'width': width, 'ms': summary['seconds_per_epoch'] * 1e3, **kept}


def both_stages(dataset: str, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows of the whole pipeline from those of its stages (ours, reference, ours, reference)."""
    epochs = []
    for stage in ('estimator', 'spexphormer'):
        config = yaml.safe_load((CONFIGS / 'Spexphormer' / f'{dataset}-{stage}.yaml').read_text())
        epochs.append(config['optim']['max_epoch'])
    both = []
    for first, second in zip(rows[:2], rows[2:4], strict=True):
        ms = (first['ms'] * epochs[0] + second['ms'] * epochs[1]) / sum(epochs)
        peaks = {key: max(first[key], second[key]) for key in ('peak_rss_mb', 'peak_gpu_mb')}
        both.append({**second, 'case': f'{dataset}, both stages', 'ms': ms, **peaks})
        both[-1] |= {share: None for share in SHARES}
    both[1]['slower'] = both[1]['ms'] / both[0]['ms']
    return both


def main(argv: Sequence[str] | None = None) -> None:
    """Trains everything, prints one table; exits with a message if the reference disagrees."""
    options = parser(__doc__)
    options.add_argument('--dataset', default='tolokers', help='as in the names of config files')
    options.add_argument('--epochs', type=int, default=20, help='2 or more (%(default)s)')
    options.add_argument('--width', type=int, default=32)
    options.add_argument('--layers', type=int, default=4)
    options.add_argument('--peers', default=','.join(PEERS), help='of %(default)s (all)')
    options.add_argument('keys', nargs='*', help='keys and values for every run')
    args = options.parse_intermixed_args(argv)
    common = ['num_threads', str(torch.get_num_threads()), *args.keys]
    epochs = ['optim.max_epoch', str(args.epochs)]
    wide = ['gt.dim_hidden', str(args.width), 'gnn.dim_inner', str(args.width), 'spex.eval_draws', '1']
    print(describe(torch.device('cuda' if torch.cuda.is_available() else 'cpu')))
    print(f'{args.dataset}: {args.epochs} epochs, width {args.width}, {args.layers} layers\n', flush=True)
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        for stage, keys in (('estimator', common), ('spexphormer', [*common, *wide])):
            config = CONFIGS / 'Spexphormer' / f'{args.dataset}-{stage}.yaml'
            case = f'{args.dataset}, stage {1 if stage == "estimator" else 2}'
            ours = train(config, out / 'ours', [*keys, *epochs])
            reference = train(config, out / 'reference', [*keys, *epochs, 'gt.attention_impl', 'torch'])
            off = abs(ours['first_loss'] / reference['first_loss'] - 1)
            if not off <= ALIKE[stage]:
                raise SystemExit(f'{case}: first losses differ by {off:.1e} of their value')
            spent = train(config, out / 'profiled', [*keys, *epochs], profiling=True)
            rows.append(
                row_of(case, 'spexphormer', ours, args.width) | {name: spent[name] for name in SHARES}
            )
            rows.append(row_of(case, 'reference', reference, args.width))
            rows[-1]['slower'] = rows[-1]['ms'] / rows[-2]['ms']
        rows += both_stages(args.dataset, rows)
        ours_ms = rows[2]['ms']
        for name in filter(None, args.peers.split(',')):
            config = CONFIGS / name / f'{args.dataset}-{name}.yaml'
            keys = [*common, *epochs, *PEERS[name].format(width=args.width, layers=args.layers).split()]
            rows.append(row_of(args.dataset, name, train(config, out / 'peers', keys), args.width))
            rows[-1]['slower'] = rows[-1]['ms'] / ours_ms
    print_table(rows, COLUMNS)
    write_json(args.json, rows)


if __name__ == '__main__':
    if sys.argv[1:2] == ['--profile']:
        profiled(Path(sys.argv[2]), sys.argv[3:])
    else:
        main()
