"""From stage 1 to stage 2: the attention scores, and what both stages must share."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch_geometric.data import Data
from torch_geometric.graphgym.config import cfg
from yacs.config import CfgNode

from graphgps_ext import scores
from graphgps_ext.errors import ConfigError
from graphgps_ext.train.finite import refuse_predictions
from graphgps_ext.train.metrics import best_metric
from graphgps_ext.train.results import config_hash, flat_config
from graphgps_ext.train.state import Training
from graphgps_ext.train.stats import read_stats


@torch.no_grad()
def dump_scores(training: Training, data: Data) -> None:
    """One pass in evaluation mode at the checkpoint's temperature; writes `<run>/scores/` layer by layer."""
    model = training.model.eval()
    graph = data.layers[0]
    at_best = next(r for r in read_stats(Path(cfg.run_dir), 'val') if r['epoch'] == training.best_epoch)
    metric = best_metric(at_best)
    manifest = scores.Manifest(
        **expected_manifest(data, training.run.inputs),
        dataset=dataset_name(),
        width=cfg.gt.dim_hidden,
        seed=cfg.seed,
        estimator=config_hash(flat_config(cfg)),
        epoch=training.best_epoch,
        temperature=model.model.temperature,
        metric=metric,
        metric_value=at_best[metric],
    )
    path, weights = Path(cfg.run_dir) / 'scores', attention_scores(training, data)
    # What may lie there is of this very run, killed between its scores and its summary, or damaged since.
    scores.save(path, graph.to('cpu'), weights, manifest, overwrite=True)


def attention_scores(training: Training, data: Data) -> Iterator[Tensor]:
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


def draws_by_scores(cfg: CfgNode) -> bool:
    """Whether a run needs the attention scores of stage 1."""
    return cfg.train.mode == 'spexphormer' and cfg.spex.strategy != 'uniform'


def find_scores(cfg: CfgNode, split_fingerprint: str) -> Path:
    """The folder of the attention scores that `spex.estimator` names, of a run on this split.

    If there is a single run, it is that one: then each difference is named, not the split alone.

    Raises:
        MissingFileError: if there is no run.
        DataError: if none of several runs fits.
    """
    folder = Path(cfg.spex.estimator)
    if len(folder.parts) == 1:  # a name within out_dir
        folder = Path(cfg.run_dir).parent.parent / folder
    if len(found := scores.stores(folder)) == 1:
        return found[0]
    return scores.find(folder, split_fingerprint=split_fingerprint, seed=_seed(cfg))


def _seed(cfg: CfgNode) -> int | None:
    return None if cfg.spex.estimator_seed < 0 else cfg.spex.estimator_seed


def score_inputs(manifest: scores.Manifest) -> dict[str, str]:
    """What a run of stage 2 is computed from beside its data."""
    return {'scores': manifest.identity, 'estimator': manifest.estimator}


def load_scores(data: Data, inputs: dict[str, str]) -> tuple[list[Tensor | None], Path | None]:
    """The attention scores of each layer, [E] float32, of the stage-1 run on the same graph and split.

    Beside them stands the folder they come from. Uniform sampling needs none and asks for none.

    Args:
        data: of :func:`graphgps_ext.loader.load_graph`.
        inputs: fingerprints of what the run is computed from; those of the scores are added.

    Raises:
        MissingFileError: if there is no such run.
        DataError: if its scores do not fit; each difference is named.
    """
    if not draws_by_scores(cfg):
        return [None] * cfg.gt.layers, None
    expected = expected_manifest(data, inputs)
    if cfg.spex.score_layers:  # then the estimator may have any number of layers that has these
        del expected['num_layers']
    if cfg.dataset.format != 'file':  # whose name says nothing that the fingerprints do not
        expected['dataset'] = dataset_name()
    if (seed := _seed(cfg)) is not None:
        expected['seed'] = seed
    path = find_scores(cfg, expected['split_fingerprint'])
    loaded = scores.load(
        path,
        expect=expected,
        allow_fewer_layers=cfg.spex.allow_fewer_layers,
        hash_again=cfg.dataset.hash_again,
    )
    logging.info(
        f'attention scores: {path} (epoch {loaded.manifest.epoch}, τ {loaded.manifest.temperature:g})'
    )
    wanted = score_layers()
    if max(wanted) >= len(loaded.layers):
        raise ConfigError(
            f'spex.score_layers needs layers from 0 to {len(loaded.layers) - 1} of the estimator in {path}, '
            f'got {list(cfg.spex.score_layers)}'
        )
    inputs |= score_inputs(loaded.manifest)
    return [loaded.layers[layer] for layer in wanted], path


def score_layers() -> list[int]:
    """The estimator's layer for each layer: `spex.score_layers`; its last entry serves all further layers."""
    chosen = list(cfg.spex.score_layers)
    return chosen + chosen[-1:] * (cfg.gt.layers - len(chosen)) if chosen else list(range(cfg.gt.layers))


def expected_manifest(data: Data, inputs: dict[str, str]) -> dict[str, Any]:
    """What both stages must share, as far as the config and the graph tell."""
    return {
        'features_fingerprint': inputs['features'],
        'labels_fingerprint': inputs['labels'],
        'num_nodes': data.layers[0].num_nodes,
        'num_edges': data.layers[0].num_edges,
        'graph_fingerprint': scores.graph_fingerprint(data.layers[0]),
        'split_fingerprint': inputs['split'],
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
