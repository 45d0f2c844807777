"""What stage 2 draws, when it draws anew, and that its results follow from it."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import runs
import torch
from torch import Tensor
from torch_geometric.data import Data

from graphgps_ext.loader import neighbor_loader
from graphgps_ext.loader.neighbor_loader import full_batch
from graphgps_ext.network import layerwise
from graphgps_ext.sampling import SamplingPlan
from graphgps_ext.train import batches, report

MINI_BATCH = {'train.sampler': 'spex_neighbor', 'val.sampler': 'spex_neighbor', 'train.batch_size': 25}


@pytest.fixture(scope='module')
def estimator(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished stage 1; not to be changed."""
    return runs.run('estimator', tmp_path_factory.mktemp('estimator'))


# A network that sees the graph's own edges alone.
PLAIN_GRAPH = {'train.mode': 'full_graph', 'model.type': 'pyg_gcn', 'gnn.head': 'node'}


@pytest.fixture
def stage_2(estimator: Path, tmp_path: Path) -> Callable[..., Path]:
    """Runs stage 2 on it, in a folder of its own, and gives the run folder."""

    def run(changes: dict[str, Any] | None = None, where: str = 'out') -> Path:
        return (
            runs.run('spexphormer', tmp_path / where, {'spex.estimator': estimator, **(changes or {})}) / '0'
        )

    return run


@pytest.fixture
def draws(monkeypatch: pytest.MonkeyPatch) -> list[tuple[SamplingPlan, int, Data]]:
    """Every full batch that is made: its plan, its key and itself, in order (training, evaluation, ...)."""
    made = []

    def recorded(nodes: Data, plan: SamplingPlan, key: int, **kwargs: bool) -> Data:
        batch = full_batch(nodes, plan, key, **kwargs)
        made.append((plan, key, batch))
        return batch

    monkeypatch.setattr(batches, 'full_batch', recorded)
    return made


def tables(batch: Data) -> list[list[list[int]]]:
    return [table.source.tolist() for table in batch.layers]


def test_each_epoch_trains_and_is_evaluated_on_draws_of_its_own(stage_2, draws) -> None:
    stage_2()
    found = [tables(batch) for _, _, batch in draws]
    assert len(found) == 4 + 4 + 2  # epochs, their evaluations, draws of the report
    assert all(found[i] != found[j] for i in range(len(found)) for j in range(i))


def test_several_epochs_share_a_draw_when_asked_for(stage_2, draws) -> None:
    stage_2({'spex.resample_every': 2, 'optim.max_epoch': 5})
    found = [tables(batch) for _, _, batch in draws[:10]]
    training, evaluation = found[0::2], found[1::2]
    assert training[0] == training[1] and training[2] == training[3]
    distinct = [training[0], training[2], training[4], *evaluation]
    assert all(distinct[i] != distinct[j] for i in range(len(distinct)) for j in range(i))


def test_draws_depend_on_the_seed_of_the_run(stage_2, draws) -> None:
    found = []
    for where, seed in (('first', 0), ('again', 0), ('other', 1)):
        draws.clear()
        stage_2({'seed': seed}, where)
        found.append([tables(batch) for _, _, batch in draws])
    first, again, other = found
    assert len(first) == len(other) > 0
    assert again == first
    assert all(mine != theirs for mine, theirs in zip(other, first, strict=True))


@pytest.mark.parametrize('strategy', ['weighted', 'uniform', 'top'])
@pytest.mark.parametrize('fill', ['mask', 'repeat'])
def test_strategy_and_fill_reach_the_draws(stage_2, draws, strategy: str, fill: str) -> None:
    degrees = {'spex.layer_degrees': [14, 3], 'optim.max_epoch': 2}  # some nodes have fewer than 14
    run_dir = stage_2({'spex.strategy': strategy, 'spex.fill': fill, **degrees})
    plan, _, batch = draws[0]
    assert (plan.strategy, plan.fill, plan.per_batch) == (strategy, fill, False)
    assert list(plan.layer_degrees) == [14, 3] == [table.width for table in batch.layers]
    assert bool((batch.layers[0].source < 0).any()) == (fill == 'mask')
    assert len(runs.stats(run_dir, 'test')) == 2
    if strategy == 'top' and fill == 'mask':
        assert tables(batch) == tables(draws[2][2])  # the same in every epoch
        weights, indptr = plan.scores[1], plan.graph.indptr
        for node in (0, 100, 255):
            mine = weights[indptr[node] : indptr[node + 1]]
            chosen = batch.layers[1].edge_id[node] - indptr[node]
            assert mine[chosen].sort().values.tolist() == mine.sort().values[-3:].tolist()


def test_weights_of_the_draws_are_the_scores_of_stage_1(estimator: Path, stage_2, draws) -> None:
    stage_2()
    plan = draws[0][0]
    for layer, weights in enumerate(plan.scores):
        stored = np.load(estimator / '0' / 'scores' / f'layer_{layer}.npy')
        assert np.array_equal(np.asarray(weights), stored)


def test_one_degree_serves_all_layers(stage_2, draws) -> None:
    stage_2({'spex.layer_degrees': [5]})
    plan, _, batch = draws[0]
    assert list(plan.layer_degrees) == [5, 5] == [table.width for table in batch.layers]


def test_deep_network_samples_by_the_chosen_layers_of_a_shallow_estimator(
    estimator: Path, stage_2, draws
) -> None:
    stage_2({'gt.layers': 5, 'spex.layer_degrees': [3], 'spex.score_layers': [1, 0, 1]})
    stored = [np.load(estimator / '0' / 'scores' / f'layer_{layer}.npy') for layer in (0, 1)]
    assert not np.array_equal(stored[0], stored[1])
    for weights, layer in zip(draws[0][0].scores, (1, 0, 1, 1, 1), strict=True):  # the last serves the rest
        assert np.array_equal(np.asarray(weights), stored[layer])
    drawn = tables(draws[0][2])
    assert all(drawn[i] != drawn[j] for i in range(5) for j in range(i))  # of equal scores, yet other draws


def test_score_layer_that_the_estimator_has_not_is_refused(estimator: Path, tmp_path: Path) -> None:
    changes = {'spex.estimator': estimator, 'spex.score_layers': [0, 2]}
    assert re.search(
        r'spex.score_layers needs layers from 0 to 1 of the estimator in .*, got \[0, 2\]',
        runs.refusal('spexphormer', tmp_path, changes),
    )


def test_deeper_network_than_estimator_is_told_of_score_layers(estimator: Path, tmp_path: Path) -> None:
    changes = {'spex.estimator': estimator, 'gt.layers': 3, 'spex.layer_degrees': [3]}
    assert re.search(
        r'num_layers: wanted 3, got 2 \(key gt.layers, .* or spex.score_layers',
        runs.refusal('spexphormer', tmp_path, changes),
    )


def test_uniform_sampling_needs_no_stage_1(tmp_path: Path) -> None:
    uniform = {'spex.strategy': 'uniform', 'spex.estimator': ''}
    summary = runs.summary(runs.run('spexphormer', tmp_path, uniform) / '0')
    assert summary['scores'] is None and summary['kept_share'] > 0


def test_edges_of_a_local_branch_count_as_read(stage_2) -> None:
    alone = runs.summary(stage_2({'optim.max_epoch': 1}))
    sampled = runs.summary(
        stage_2({'optim.max_epoch': 1, 'gt.local_gnn_type': 'sage', 'gt.local_edges': 'sampled'}, 'sampled')
    )
    whole = runs.summary(stage_2({'optim.max_epoch': 1, 'gt.local_gnn_type': 'sage'}, 'whole'))
    assert sampled['edges'] == alone['edges']  # it sees what the attention draws
    graph_edges = runs.summary(stage_2({'optim.max_epoch': 1, **PLAIN_GRAPH}, 'plain'))['edges']
    assert whole['edges'] == pytest.approx(alone['edges'] + graph_edges, abs=1)


def test_report_averages_the_probabilities_of_independent_draws(
    stage_2, draws, monkeypatch: pytest.MonkeyPatch
) -> None:
    predictions: list[Tensor] = []
    predict = report.predict

    def recorded(*args: Any) -> Tensor:
        predictions.append(predict(*args))
        return predictions[-1]

    monkeypatch.setattr(report, 'predict', recorded)
    summary = runs.summary(stage_2({'spex.eval_draws': 5}))
    assert len(predictions) == summary['eval_draws'] == 5
    batch = draws[-1][2]
    test = batch.test_mask
    single = [auc(score[test], batch.y[test]) for score in predictions]
    averaged = auc(torch.stack(predictions).mean(0)[test], batch.y[test])
    assert summary['test']['auc'] == pytest.approx(averaged, abs=1e-6)
    assert summary['test']['auc_single_draw'] == pytest.approx(sum(single) / 5, abs=1e-6)
    assert len(set(single)) > 1


def auc(score: Tensor, true: Tensor) -> float:
    """Share of pairs of a mine and another node in the right order."""
    difference = score[true == 1][:, None] - score[true == 0]
    return float(((difference > 0) + 0.5 * (difference == 0)).double().mean())


@pytest.mark.parametrize('sampler', ['spex_neighbor', 'spex_layerwise'])
def test_evaluation_in_parts_gives_what_the_full_batch_gives(
    stage_2, monkeypatch: pytest.MonkeyPatch, sampler: str
) -> None:
    monkeypatch.setattr(layerwise, 'BLOCK_BYTES', 32 * 8 * 6 * 50)  # some 50 of the 256 nodes at a time
    whole = stage_2(where='whole')
    batches = stage_2({'val.sampler': sampler, 'train.batch_size': 25}, where='batches')
    assert runs.stats(whole, 'train')[-1]['loss'] == runs.stats(batches, 'train')[-1]['loss']
    for split in ('val', 'test'):
        for a, b in zip(runs.stats(whole, split), runs.stats(batches, split), strict=True):
            for name in ('loss', 'accuracy', 'auc'):
                assert a[name] == pytest.approx(b[name], abs=1e-4)
        for name, value in runs.summary(whole)[split].items():
            assert runs.summary(batches)[split][name] == pytest.approx(value, abs=1e-4)


@pytest.mark.parametrize('resample', ['epoch', 'batch'])
def test_training_in_mini_batches(stage_2, monkeypatch: pytest.MonkeyPatch, resample: str) -> None:
    seeds: list[list[int]] = []
    plans = []
    sample = neighbor_loader.SparseNeighborSampler.sample_from_nodes

    def recorded(self: Any, index: Any, **kwargs: Any) -> Any:
        plans.append(self.plan)
        seeds.append(index.node.tolist())
        return sample(self, index, **kwargs)

    monkeypatch.setattr(neighbor_loader.SparseNeighborSampler, 'sample_from_nodes', recorded)
    run_dir = stage_2({**MINI_BATCH, 'spex.resample': resample, 'optim.max_epoch': 3})
    assert {plan.per_batch for plan in plans} == {resample == 'batch'}
    # 128 training nodes in 6 batches, the last of 3; 64 + 64 nodes to evaluate, in 6 batches.
    assert [len(batch) for batch in seeds[:12]] == [25, 25, 25, 25, 25, 3] * 2
    training = [seeds[12 * epoch : 12 * epoch + 6] for epoch in range(3)]
    nodes = [sorted(itertools.chain(*batches)) for batches in training]
    assert nodes[0] == nodes[1] == nodes[2] and len(set(nodes[0])) == 128
    assert len({str(order) for order in training}) == 3  # another order in every epoch
    assert set(nodes[0]).isdisjoint(itertools.chain(*seeds[6:12]))
    assert len(runs.stats(run_dir, 'test')) == 3 and runs.summary(run_dir)['seconds_sampling'] > 0


def test_last_training_batch_may_hold_one_node(stage_2) -> None:
    run_dir = stage_2({**MINI_BATCH, 'train.batch_size': 127, 'optim.max_epoch': 2})
    assert all(np.isfinite(row['loss']) for row in runs.stats(run_dir, 'train'))


def test_gradients_of_several_batches_are_added_up(stage_2) -> None:
    run_dir = stage_2({**MINI_BATCH, 'optim.batch_accumulation': 4, 'optim.max_epoch': 2})
    checkpoint = torch.load(run_dir / 'ckpt' / 'best.ckpt', weights_only=False)
    # Six batches an epoch: a step after four, and one for the two that are left.
    assert checkpoint['global_step'] == 2 * (checkpoint['epoch'] + 1)


@pytest.mark.filterwarnings('ignore:.*fork.*:DeprecationWarning')
def test_workers_change_nothing(stage_2) -> None:
    short = {**MINI_BATCH, 'optim.max_epoch': 2, 'spex.eval_draws': 1, 'train.batch_size': 64}
    alone = stage_2(short, where='alone')
    helped = stage_2({**short, 'num_workers': 1}, where='helped')
    assert runs.result(helped) == runs.result(alone)


@pytest.mark.parametrize('sampler', [{}, MINI_BATCH], ids=['full batch', 'mini-batch'])
def test_virtual_nodes_go_through_both_stages(tmp_path: Path, sampler: dict[str, Any]) -> None:
    virtual = {'prep.num_virt_node': 2, 'optim.max_epoch': 2}
    first = runs.run('estimator', tmp_path, virtual)
    indptr = np.load(first / '0' / 'scores' / 'indptr.npy')
    assert len(indptr) == 256 + 2 + 1 and indptr[-1] - indptr[-2] == 256 + 1
    second = runs.run('spexphormer', tmp_path, {**virtual, **sampler})
    summary = runs.summary(second / '0')
    types = np.bincount(np.load(first / '0' / 'scores' / 'edge_type.npy'))
    assert summary['kept_share'] == round(100 * 256 * 3.5 / (types[0] + types[1]), 2)
    assert 0 <= summary['test']['auc'] <= 1
