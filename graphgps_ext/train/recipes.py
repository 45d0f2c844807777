"""What each `train.mode` does with one graph; `run/main.py` dispatches on it.

A recipe takes the data of :func:`graphgps_ext.loader.load_graph` and the run, and returns what it wrote to
`summary.json`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from torch_geometric.data import Data
from torch_geometric.graphgym.config import cfg
from torch_geometric.graphgym.register import register_train

from graphgps_ext.capabilities import capabilities
from graphgps_ext.graph import EXPANDER
from graphgps_ext.sampling import SamplingPlan
from graphgps_ext.train.batches import RandomParts, SampledLayers, WholeGraphBatches
from graphgps_ext.train.fit import fit
from graphgps_ext.train.handover import dump_scores, load_scores
from graphgps_ext.train.metrics import num_outputs, refuse_missing_metric, split_labels
from graphgps_ext.train.module import NodeClassifier
from graphgps_ext.train.report import report
from graphgps_ext.train.run import Run
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
def train_full_graph(data: Data, run: Run) -> dict[str, Any]:
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
        run,
        before_epoch=start_epoch_of_network if can.phases else None,
    )
    edges = num_edges(data)
    return report(training, record, data, kept_share=100.0 if edges else 0.0, edges=edges)


def start_epoch_of_network(training: Training) -> bool:
    """Tells a network that trains in phases which epoch begins; a new phase goes on from the best so far."""
    network = training.model.model
    is_new = network.changes_phase(training.epoch)
    if is_new:
        training.return_to_best()
    network.start_epoch(training.epoch)
    return is_new


@register_train('spexphormer_estimator')
def train_estimator(data: Data, run: Run) -> dict[str, Any]:
    """Stage 1: trains the estimator with annealing, and dumps the attention scores of its best epoch."""
    batches = WholeGraphBatches(data)
    training, record = fit(
        build_model(data),
        batches,
        run,
        select_from=cfg.spex.temperature_hold if cfg.spex.select_after_hold else 0,
        before_epoch=anneal,
    )
    dump_scores(training, batches.graph)
    extra = {'edges': num_edges(data), 'temperature': training.model.model.temperature}
    return report(training, record, data, kept_share=100.0, **extra)


def anneal(training: Training) -> bool:
    """Sets the estimator's temperature for training and evaluation of the epoch that begins."""
    training.model.model.temperature = temperature(training.epoch)
    return False  # it lies on the device


def temperature(epoch: int) -> float:
    """τ of an epoch: 1 for `temperature_hold` epochs, then max(minimum, decay^(epoch − hold))."""
    cooled = cfg.spex.temperature_decay ** max(0, epoch - cfg.spex.temperature_hold)
    return 1.0 if epoch < cfg.spex.temperature_hold else max(cfg.spex.temperature_min, cooled)


@register_train('spexphormer')
def train_spexphormer(data: Data, run: Run) -> dict[str, Any]:
    """Stage 2: each layer sees a few in-neighbours per node, drawn by the attention scores of stage 1."""
    layers, path = load_scores(data, run.inputs)
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
    training, record = fit(build_model(data), batches, run)
    share = batches.kept_share
    extra = {'edges': round(share / 100 * num_edges(data)), 'scores': None if path is None else str(path)}
    return report(training, record, data, kept_share=round(share, 2), **extra)


def layer_degrees() -> list[int]:
    """K of each layer; a single entry of `spex.layer_degrees` serves all."""
    degrees = list(cfg.spex.layer_degrees)
    return degrees * cfg.gt.layers if len(degrees) == 1 else degrees
