"""Both stages end to end against other models at equal width on one graph, all of them through main.py.

    python run/bench_pipeline.py dataset.dir DIR                       Tolokers, this machine's device
    python run/bench_pipeline.py --dataset minesweeper-grid --epochs 5
    python run/bench_pipeline.py --json pipeline.json dataset.dir DIR  rows as JSON as well

Each row is a process of its own that trains for `--epochs` epochs with an evaluation after each, as a
user's run does; ms is the median epoch, and of both stages that of an epoch of the whole: each stage for as
many epochs as its config has. "reference" is Spexphormer with the plain-torch operator; the first losses of
the two must agree. Two more runs of each stage of ours, one of them an epoch long, are made under torch's
profiler; what lies between them is split into attention, block (all other operators of torch), waiting for
batches, and engine (Python, logs, checkpoints), in % of its time.
"""

from __future__ import annotations

import argparse
import json
import runpy
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import yaml
from bench_harness import print_table, write_json
from torch.profiler import ProfilerActivity, profile

from graphgps_ext.provenance import describe

RUN = Path(__file__).resolve().parent
CONFIGS = RUN.parent / 'configs'
COLUMNS = (
    'case',
    'impl',
    'ms',
    'slower',
    'peak_rss_mb',
    'peak_gpu_mb',
    'attention',
    'block',
    'waiting',
    'engine',
)
SHARES = ('attention', 'block', 'waiting', 'engine')
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


def profiled(argv: list[str]) -> None:
    """main.py under torch's profiler; the last line says the seconds in attention and in all operators."""
    activities = [ProfilerActivity.CPU, *[ProfilerActivity.CUDA] * torch.cuda.is_available()]
    sys.argv = [str(RUN / 'main.py'), *argv]
    with profile(activities=activities) as found:
        try:
            runpy.run_path(sys.argv[0], run_name='__main__')
        except SystemExit as ended:
            if ended.code:
                raise
    kind = 'device' if torch.cuda.is_available() else 'cpu'
    events = found.key_averages()
    attention = sum(getattr(event, f'{kind}_time_total') for event in events if event.key in ATTENTION)
    everything = sum(getattr(event, f'self_{kind}_time_total') for event in events)
    print(json.dumps({'attention': attention / 1e6, 'operators': everything / 1e6}))


def train(config: Path, out: Path, keys: list[str], *, profiling: bool = False) -> dict[str, Any]:
    """summary.json of a run with its first training loss and, with `profiling`, the seconds found."""
    script = [__file__, '--profile'] if profiling else [str(RUN / 'main.py')]
    command = [sys.executable, *script, '--cfg', str(config), *keys, 'out_dir', str(out)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f'{config.name} failed:\n{done.stderr[-2000:]}')
    run_dir = next((out / config.stem).glob('[0-9]*'))
    summary = json.loads((run_dir / 'summary.json').read_text())
    epochs = (run_dir / 'train' / 'stats.json').read_text().splitlines()
    summary['first_loss'] = json.loads(epochs[0])['loss']
    return summary | (json.loads(done.stdout.splitlines()[-1]) if profiling else {})


def shares(config: Path, out: Path, keys: list[str], epochs: int) -> dict[str, float]:
    """Where the time of `epochs` epochs goes, in %: a run less one of a single epoch, both profiled.

    What happens once per run, such as reading the graph, is in both.
    """
    alike = [*keys, 'optim.num_warmup_epochs', '0', 'optim.max_epoch']
    one = train(config, out / 'one', [*alike, '1'], profiling=True)
    more = train(config, out / 'more', [*alike, str(epochs + 1)], profiling=True)
    spent = {
        name: more[name] - one[name]
        for name in ('seconds_total', 'seconds_waiting', 'attention', 'operators')
    }
    parts = {
        'attention': spent['attention'],
        'block': spent['operators'] - spent['attention'],
        'waiting': spent['seconds_waiting'],
    }
    parts['engine'] = spent['seconds_total'] - sum(parts.values())
    return {name: round(100 * seconds / spent['seconds_total'], 1) for name, seconds in parts.items()}


def row_of(case: str, name: str, summary: dict[str, Any], width: int) -> dict[str, Any]:
    return {
        'case': case, 'impl': name, 'device': summary['device'], 'nodes': None, 'edges': None,
        'heads': None, 'channels': width, 'ms': summary['seconds_per_epoch'] * 1e3, 'extra_mb': None,
        'floor_ms': None, 'peak_rss_mb': summary['peak_rss_mb'], 'peak_gpu_mb': summary['peak_gpu_mb'],
        'params': summary['params'],
    }  # fmt: skip


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
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--dataset', default='tolokers', help='as in the names of config files')
    parser.add_argument('--epochs', type=int, default=20)
    parser.add_argument('--width', type=int, default=32)
    parser.add_argument('--layers', type=int, default=4)
    parser.add_argument('--peers', default=','.join(PEERS), help='of %(default)s (all)')
    parser.add_argument('--json', metavar='FILE', help='write the rows here')
    parser.add_argument('keys', nargs='*', help='keys and values for every run')
    args = parser.parse_intermixed_args(argv)
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
            spent = shares(config, out / 'profiled', keys, args.epochs)
            rows.append(row_of(case, 'spexphormer', ours, args.width) | spent)
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
        profiled(sys.argv[2:])
    else:
        main()
