"""What each `train.mode` does with one graph; `run/main.py` dispatches on it.

A recipe takes the data of :func:`graphgps_ext.loader.load_graph` and a function to call after each evaluation
(see :func:`graphgps_ext.train.fit.fit`), and returns what it wrote to `summary.json`.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch_geometric.data import Data
from torch_geometric.graphgym.config import cfg
from torch_geometric.graphgym.register import register_train

from graphgps_ext import scores
from graphgps_ext.capabilities import capabilities
from graphgps_ext.errors import ConfigError
from graphgps_ext.graph import EXPANDER
from graphgps_ext.sampling import SamplingPlan
from graphgps_ext.train.batches import RandomParts, SampledLayers, WholeGraphBatches
from graphgps_ext.train.finite import refuse_predictions
from graphgps_ext.train.fit import AfterEvaluation, fit
from graphgps_ext.train.metrics import best_metric, num_outputs, refuse_missing_metric, split_labels
from graphgps_ext.train.module import NodeClassifier
from graphgps_ext.train.report import report
from graphgps_ext.train.results import read_stats
from graphgps_ext.train.state import Training
from graphgps_ext.transform.batch import plain_graph


def build_model(data: Data) -> NodeClassifier:
    """The network of `model.type` for this graph, with its metrics."""
    cfg.share.dim_in, cfg.share.dim_out = data.num_features, num_outputs(data)
    cfg.share.num_nodes = data.num_nodes
    if cfg.prep.edge_attr:
        cfg.dataset.edge_dim = data.attention_edge_attr[0].shape[1]
    labels = split_labels(data)
    refuse_missing_metric(labels, cfg.share.dim_out)
    return NodeClassifier(cfg.share.dim_in, cfg.share.dim_out, labels)


def num_edges(data: Data) -> int:
    """Number of graph and expander edges, without self-loops and those of virtual nodes; 0 for an MLP."""
    can = capabilities(cfg.model.type)
    if can.plain:
        return data.num_edges if can.sees_edges else 0
    return int((data.layers[0].edge_type <= EXPANDER).sum())


@register_train('full_graph')
def train_full_graph(data: Data, *, after_evaluation: AfterEvaluation | None = None) -> dict[str, Any]:
    """Any network of GraphGym on the whole graph in one batch (Exphormer and other baselines).

    PyG's models (`model.type pyg_...`) get graph edges alone, and parts with `train.sampler random_node`.
    """
    model = build_model(data)
    can = capabilities(cfg.model.type)
    if can.plain:
        data = plain_graph(data)
    training, record = fit(
        model,
        RandomParts(data) if cfg.train.sampler == 'random_node' else WholeGraphBatches(data),
        before_epoch=start_epoch_of_network if can.phases else None,
        after_evaluation=after_evaluation,
    )
    edges = num_edges(data)
    return report(training, record, data, kept_share=100.0 if edges else 0.0, edges=edges)


def start_epoch_of_network(training: Training) -> None:
    """Tells a network that trains in phases which epoch begins; a new phase goes on from the best so far."""
    network = training.model.model
    if network.changes_phase(training.epoch):
        training.return_to_best()
    network.start_epoch(training.epoch)


@register_train('spexphormer_estimator')
def train_estimator(data: Data, *, after_evaluation: AfterEvaluation | None = None) -> dict[str, Any]:
    """Stage 1: trains the estimator with annealing, and dumps the attention scores of its best epoch."""
    batches = WholeGraphBatches(data)
    training, record = fit(
        build_model(data),
        batches,
        select_from=cfg.spex.temperature_hold if cfg.spex.select_after_hold else 0,
        before_epoch=anneal,
        after_evaluation=after_evaluation,
    )
    dump_scores(training, batches.graph)
    extra = {'edges': num_edges(data), 'temperature': training.model.model.temperature}
    return report(training, record, data, kept_share=100.0, **extra)


def anneal(training: Training) -> None:
    """Sets the estimator's temperature for training and evaluation of the epoch that begins."""
    training.model.model.temperature = temperature(training.epoch)


def temperature(epoch: int) -> float:
    """τ of an epoch: 1 for `temperature_hold` epochs, then max(minimum, decay^(epoch − hold))."""
    cooled = cfg.spex.temperature_decay ** max(0, epoch - cfg.spex.temperature_hold)
    return 1.0 if epoch < cfg.spex.temperature_hold else max(cfg.spex.temperature_min, cooled)


@torch.no_grad()
def dump_scores(training: Training, data: Data) -> None:
    """One pass in evaluation mode at the checkpoint's temperature; writes `<run>/scores/` layer by layer."""
    model = training.model.eval()
    graph = data.layers[0]
    at_best = next(r for r in read_stats(Path(cfg.run_dir), 'val') if r['epoch'] == training.best_epoch)
    metric = best_metric(at_best)
    manifest = scores.Manifest(
        **expected_manifest(data),
        num_nodes=graph.num_nodes,
        num_edges=graph.num_edges,
        width=cfg.gt.dim_hidden,
        seed=cfg.seed,
        epoch=training.best_epoch,
        temperature=model.model.temperature,
        metric=metric,
        metric_value=at_best[metric],
    )
    path, weights = Path(cfg.run_dir) / 'scores', attention_scores(training, data)
    # What may lie there is of this very run, killed between its scores and its summary.
    scores.save(path, graph.to('cpu'), weights, manifest, overwrite=True)


def attention_scores(training: Training, data: Data) -> Iterator[torch.Tensor]:
    """The attention scores of each layer in turn, [E] float32 on the CPU, computed as an evaluation computes.

    Raises:
        NotFiniteError: if one is not finite.
    """
    layers = training.model.model.attention_scores(data)
    while True:
        with training.forward_context():  # for the layer alone: who takes the scores works in his own
            layer = next(layers, None)
        if layer is None:
            return
        refuse_predictions(layer, 'attention scores', training.best_epoch)
        yield layer


@register_train('spexphormer')
def train_spexphormer(data: Data, *, after_evaluation: AfterEvaluation | None = None) -> dict[str, Any]:
    """Stage 2: each layer sees a few in-neighbours per node, drawn by the attention scores of stage 1."""
    layers, path = load_scores(data)
    plan = SamplingPlan(
        replace(data.layers[0], transpose=None),  # tables have transposes of their own
        layers,
        layer_degrees(),
        strategy=cfg.spex.strategy,
        fill=cfg.spex.fill,
        per_batch=cfg.spex.resample == 'batch',
        edge_attr=data.attention_edge_attr[0] if cfg.prep.edge_attr else None,
    )
    batches = SampledLayers(data, plan)
    training, record = fit(build_model(data), batches, after_evaluation=after_evaluation)
    share = batches.kept_share
    extra = {'edges': round(share / 100 * num_edges(data)), 'scores': None if path is None else str(path)}
    return report(training, record, data, kept_share=round(share, 2), **extra)


def layer_degrees() -> list[int]:
    """K of each layer; a single entry of `spex.layer_degrees` serves all."""
    degrees = list(cfg.spex.layer_degrees)
    return degrees * cfg.gt.layers if len(degrees) == 1 else degrees


def score_layers() -> list[int]:
    """The estimator's layer for each layer: `spex.score_layers`; its last entry serves all further layers."""
    chosen = list(cfg.spex.score_layers)
    return chosen + chosen[-1:] * (cfg.gt.layers - len(chosen)) if chosen else list(range(cfg.gt.layers))


def load_scores(data: Data) -> tuple[list[torch.Tensor | None], Path | None]:
    """The attention scores of each layer, [E] float32, of the stage-1 run on the same graph and split.

    Beside them stands the folder they come from. Uniform sampling needs none and asks for none.

    Raises:
        FileNotFoundError: if there is no such run.
        ValueError: if its scores do not fit; each difference is named.
    """
    if cfg.spex.strategy == 'uniform':
        return [None] * cfg.gt.layers, None
    expected = expected_manifest(data)
    if cfg.spex.score_layers:  # then the estimator may have any number of layers that has these
        del expected['num_layers']
    seed = None if cfg.spex.estimator_seed < 0 else cfg.spex.estimator_seed
    folder = Path(cfg.spex.estimator)
    if len(folder.parts) == 1:  # a name within out_dir
        folder = Path(cfg.out_dir).parent / folder
    runs = list(folder.glob('*/scores'))
    if len(runs) == 1:  # then each difference is named, not the split alone
        path = runs[0]
        expected |= {} if seed is None else {'seed': seed}
    else:
        path = scores.find(folder, split_fingerprint=expected['split_fingerprint'], seed=seed)
    loaded = scores.load(path, expect=expected, allow_fewer_layers=cfg.spex.allow_fewer_layers)
    logging.info(
        f'attention scores: {path} (epoch {loaded.manifest.epoch}, τ {loaded.manifest.temperature:g})'
    )
    wanted = score_layers()
    if max(wanted) >= len(loaded.layers):
        raise ConfigError(
            f'spex.score_layers needs layers from 0 to {len(loaded.layers) - 1} of the estimator in {path}, '
            f'got {list(cfg.spex.score_layers)}'
        )
    return [loaded.layers[layer] for layer in wanted], path


def expected_manifest(data: Data) -> dict[str, Any]:
    """What both stages must share, as far as the config and the graph tell."""
    return {
        'dataset': dataset_name(),
        'graph_fingerprint': scores.graph_fingerprint(data.layers[0]),
        'split_fingerprint': scores.split_fingerprint(data.train_mask, data.val_mask, data.test_mask),
        'split': split_name(),
        'expander_algorithm': cfg.prep.exp_algorithm,
        'expander_degree': cfg.prep.exp_deg if cfg.prep.exp else 0,
        'expander_seed': cfg.prep.exp_seed,
        'num_layers': cfg.gt.layers,
    }


def dataset_name() -> str:
    """The data set in words: what tells apart graphs of one format and name."""
    if cfg.dataset.format == 'grid':
        return f'grid/{cfg.dataset.name}, side {cfg.dataset.grid_side}, seed {cfg.dataset.grid_seed}'
    if cfg.dataset.format == 'file':
        return f'file/{Path(cfg.dataset.path).name}'
    return f'{cfg.dataset.format}/{cfg.dataset.name}'


def split_name() -> str:
    """The split in words, for messages."""
    if cfg.dataset.split_mode == 'standard':
        return f'standard, split_index {cfg.dataset.split_index}'
    ratios = '/'.join(f'{ratio:g}' for ratio in cfg.dataset.split)
    return f'{cfg.dataset.split_mode} {ratios}, split_seed {cfg.dataset.split_seed}'
