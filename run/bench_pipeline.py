"""Both stages end to end against other models at equal width on one graph, all of them through main.py.

    python run/bench_pipeline.py dataset.dir DIR                       Tolokers, this machine's device
    python run/bench_pipeline.py --dataset minesweeper-grid --epochs 5
    python run/bench_pipeline.py --json pipeline.json dataset.dir DIR  rows as JSON as well

Each row is a process of its own that trains for `--epochs` epochs with an evaluation after each, as a
user's run does; ms is the median epoch, and of both stages that of an epoch of the whole: each stage for as
many epochs as its config has. "reference" is Spexphormer with the plain-torch operator and a sampler that
sorts; the first losses of the two must agree. A second, synchronised run of each stage of ours is split
into attention, rest of the block (the rest of forward, backward and optimiser), waiting for batches, and
engine (Lightning, metrics, logs, checkpoints), in % of its time.
"""

from __future__ import annotations

import argparse
import json
import runpy
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import yaml
from bench_harness import describe, print_table, write_json

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
# How far apart the first losses may be: in stage 2 the two samplers draw other edges.
ALIKE = {'estimator': 1e-4, 'spexphormer': 0.05}


def use_reference() -> None:
    """Samples by sorting, with neither numba nor running sums."""
    from graphgps_ext.sampling import neighborhood, neighbors, neighbors_torch, relabel

    neighbors.draw_numba = lambda *args: neighbors_torch.draw_torch(*args[:7])
    neighborhood.make_relabeler = relabel.TorchRelabeler


class Clock:
    """Seconds spent in some calls, the device waited for before and after each."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def timed(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            _wait()
            start = time.perf_counter()
            try:
                return function(*args, **kwargs)
            finally:
                _wait()
                self.seconds += time.perf_counter() - start

        return call


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def measure_shares() -> dict[str, Clock]:
    """Clocks on the attention operator, on training steps with their optimiser, and on evaluation steps."""
    from graphgps_ext.ops import custom_op
    from graphgps_ext.train import fit

    clocks = {'attention': Clock(), 'model': Clock()}
    backend = custom_op._backend

    def timed_backend(name: str) -> Any:
        module = backend(name)
        parts = {part: clocks['attention'].timed(getattr(module, part)) for part in ('forward', 'backward')}
        return argparse.Namespace(**parts)

    custom_op._backend = timed_backend
    fit.train_step = clocks['model'].timed(fit.train_step)
    fit.evaluate_batch = clocks['model'].timed(fit.evaluate_batch)
    return clocks


def child(mode: str, argv: list[str]) -> None:
    """main.py in this process, changed as `mode` says; prints the clocks as the last line."""
    clocks: dict[str, Clock] = {}
    if mode == 'reference':
        use_reference()
    elif mode == 'shares':
        clocks = measure_shares()
    sys.argv = [str(RUN / 'main.py'), *argv]
    runpy.run_path(sys.argv[0], run_name='__main__')
    print(json.dumps({name: clock.seconds for name, clock in clocks.items()}))


def train(mode: str, config: Path, out: Path, keys: list[str]) -> tuple[dict[str, Any], dict[str, float]]:
    """summary.json of a run with its first training loss, and the clocks of the mode."""
    command = [sys.executable, __file__, '--child', mode, '--cfg', str(config), *keys, 'out_dir', str(out)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f'{config.name} failed:\n{done.stderr[-2000:]}')
    run_dir = next((out / config.stem).glob('[0-9]*'))
    summary = json.loads((run_dir / 'summary.json').read_text())
    epochs = (run_dir / 'train' / 'stats.json').read_text().splitlines()
    summary['first_loss'] = json.loads(epochs[0])['loss']
    return summary, json.loads(done.stdout.splitlines()[-1])


def shares_of(summary: dict[str, Any], clocks: dict[str, float]) -> dict[str, float]:
    """Where the time of a run goes, in %. The report's evaluations lie outside `seconds_total`."""
    total = summary['seconds_total']
    parts = {
        'attention': clocks['attention'],
        'block': clocks['model'] - clocks['attention'],
        'waiting': summary['seconds_waiting'],
    }
    parts['engine'] = total - sum(parts.values())
    return {name: round(100 * seconds / total, 1) for name, seconds in parts.items()}


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


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--dataset', default='tolokers', help='as in the names of config files')
    parser.add_argument('--epochs', type=int, default=20)
    parser.add_argument('--width', type=int, default=32)
    parser.add_argument('--layers', type=int, default=4)
    parser.add_argument('--json', metavar='FILE', help='write the rows here')
    parser.add_argument('keys', nargs='*', help='keys and values for every run')
    args = parser.parse_args()
    common = [*args.keys, 'optim.max_epoch', str(args.epochs), 'num_threads', str(torch.get_num_threads())]
    wide = ['gt.dim_hidden', str(args.width), 'gnn.dim_inner', str(args.width), 'spex.eval_draws', '1']
    print(f'{describe("cuda" if torch.cuda.is_available() else "cpu")}')
    print(f'{args.dataset}: {args.epochs} epochs, width {args.width}, {args.layers} layers\n', flush=True)
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        for stage, keys in (('estimator', []), ('spexphormer', wide)):
            config = CONFIGS / 'Spexphormer' / f'{args.dataset}-{stage}.yaml'
            case = f'{args.dataset}, stage {1 if stage == "estimator" else 2}'
            ours, _ = train('main', config, out / 'main', [*common, *keys])
            reference, _ = train(
                'reference', config, out / 'reference', [*common, *keys, 'gt.attention_impl', 'torch']
            )
            off = abs(ours['first_loss'] / reference['first_loss'] - 1)
            if not off <= ALIKE[stage]:
                raise SystemExit(f'{case}: first losses differ by {off:.1e} of their value')
            summary, clocks = train('shares', config, out / 'shares', [*common, *keys])
            rows.append(row_of(case, 'spexphormer', ours, args.width) | shares_of(summary, clocks))
            rows.append(row_of(case, 'reference', reference, args.width))
            rows[-1]['slower'] = rows[-1]['ms'] / rows[-2]['ms']
        rows += both_stages(args.dataset, rows)
        ours_ms = rows[2]['ms']
        for name, keys_of in PEERS.items():
            config = CONFIGS / name / f'{args.dataset}-{name}.yaml'
            keys = keys_of.format(width=args.width, layers=args.layers).split()
            summary, _ = train('main', config, out / 'peers', [*common, *keys])
            rows.append(row_of(args.dataset, name, summary, args.width))
            rows[-1]['slower'] = rows[-1]['ms'] / ours_ms
    print_table(rows, COLUMNS)
    write_json(args.json, rows)


if __name__ == '__main__':
    if sys.argv[1:2] == ['--child']:
        child(sys.argv[2], sys.argv[3:])
    else:
        main()
