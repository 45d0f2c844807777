"""Both stages on a synthetic graph with the shape of ogbn-proteins, through main.py: does one GPU hold it?

    python run/bench_large.py                                   132,534 nodes, 79 M directed edges, on the GPU
    python run/bench_large.py --nodes 13253 --edges 790000      a hundredth of the edges, anywhere

Degrees are log-normal. Stage 1 attends over all edges, those of an expander of degree 100 and self-loops;
stage 2 runs in one full batch and with its config's mini-batches. Prints seconds per epoch and peaks; edges
are those of graph and expander that a layer reads.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from bench_harness import CONFIGS, RUN, parser, print_table, run_script, write_json

from graphgps_ext.provenance import describe

TASKS, FEATURES = 112, 8
COLUMNS = 'case edges epochs seconds_per_epoch waiting_share peak_gpu_mb peak_rss_mb wall_s'.split()


def write_graph(path: Path, nodes: int, edges: int) -> None:
    """Writes a random graph with `edges` directed edges, less those that repeat or start where they end."""
    random = np.random.default_rng(0)
    mass = np.cumsum(random.lognormal(0.0, 1.0, nodes))
    ends = [np.searchsorted(mass, random.random(edges // 2) * mass[-1]) for _ in range(2)]
    edge_index = np.stack(ends).astype(np.int32)
    split = random.permutation(nodes)
    masks = {
        name: np.isin(np.arange(nodes), split[int(a * nodes) : int(b * nodes)])
        for name, a, b in (('train_mask', 0, 0.65), ('val_mask', 0.65, 0.81), ('test_mask', 0.81, 1))
    }
    x = random.standard_normal((nodes, FEATURES), np.float32)
    y = (x @ random.standard_normal((FEATURES, TASKS)) > 0).astype(np.float32)
    np.savez(path, edge_index=edge_index, x=x, y=y, **masks)


def train(config: str, out: Path, keys: list[str]) -> dict[str, Any]:
    """summary.json of a run, with the seconds from start to end of its process."""
    path = CONFIGS / 'Spexphormer' / f'proteins-{config}.yaml'
    start = time.perf_counter()
    run_script([str(RUN / 'main.py'), '--cfg', str(path), 'out_dir', str(out), *keys], path.name)
    seconds = round(time.perf_counter() - start, 1)
    return json.loads((out / path.stem / '0' / 'summary.json').read_text()) | {'wall_s': seconds}


def main(argv: Sequence[str] | None = None) -> None:
    """Draws the graph, trains both stages, prints a row after each."""
    options = parser(__doc__)
    options.add_argument('--nodes', type=int, default=132_534)
    options.add_argument('--edges', type=int, default=79_122_504)
    options.add_argument('keys', nargs='*', help='keys and values for every run')
    args = options.parse_args(argv)
    print(describe(torch.device('cuda' if torch.cuda.is_available() else 'cpu')))
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        graph = Path(folder) / 'graph.npz'
        write_graph(graph, args.nodes, args.edges)
        print(f'{args.nodes} nodes, {args.edges} edges drawn in {time.perf_counter() - start:.0f} s\n')
        common = ['dataset.format', 'file', 'dataset.name', 'large', 'dataset.path', str(graph), *args.keys]
        full = ['train.sampler', 'full_batch', 'val.sampler', 'full_batch']
        estimator = ['spex.estimator', f'{folder}/stage1/proteins-estimator']
        for case, config, epochs, keys in (
            ('stage1', 'estimator', 5, ['spex.temperature_hold', '1']),
            ('stage2-full-batch', 'spexphormer', 5, [*estimator, *full]),
            ('stage2', 'spexphormer', 2, [*estimator, 'spex.eval_draws', '1']),
        ):
            keys = [*common, *keys, 'optim.max_epoch', str(epochs), 'optim.num_warmup_epochs', '1']
            summary = train(config, Path(folder) / case, keys)
            rows.append({'case': case, 'nodes': args.nodes, **summary})
            print_table(rows[-1:], COLUMNS)
            write_json(args.json, rows)


if __name__ == '__main__':
    main()
