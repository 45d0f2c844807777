"""Metrics by task, against formulas by hand."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import f1_score, roc_auc_score
from torch import Tensor
from torch_geometric.data import Data
from torchmetrics import MetricCollection
from torchmetrics.classification import (
    BinaryAccuracy,
    BinaryAUROC,
    BinaryF1Score,
    BinaryPrecision,
    BinaryRecall,
    MulticlassAccuracy,
    MulticlassF1Score,
    MultilabelAccuracy,
    MultilabelAUROC,
)
from yacs.config import CfgNode

from graphgps_ext.errors import ConfigError, DataError
from graphgps_ext.train.metrics import (
    area_under_roc,
    best_metric,
    compute_metrics,
    existing_metrics,
    loss_and_probability,
    metric_names,
    num_outputs,
    refuse_missing_metric,
)
from graphgps_ext.train.tally import Tally

NAN = float('nan')


def pairwise_auc(score: Tensor, true: Tensor) -> float:
    """Share of pairs of a positive and a negative in the right order; a tie counts half."""
    pairs = itertools.product(score[true == 1].tolist(), score[true == 0].tolist())
    return sum((a > b) + 0.5 * (a == b) for a, b in pairs) / int((true == 1).sum() * (true == 0).sum())


def values(dim_out: int, score: Tensor, true: Tensor) -> dict[str, float]:
    metrics = compute_metrics(existing_metrics(dim_out, true), score, true)
    return {name: float(value) for name, value in metrics.items()}


def test_binary_metrics_are_those_of_the_formulas(graphgym_cfg: CfgNode) -> None:
    score = torch.tensor([0.9, 0.4, 0.6, 0.1, 0.6, 0.2])
    true = torch.tensor([1, 1, 0, 0, 1, 0])
    found = values(2, score, true)
    # Above one half: 0, 2 and 4, of which 0 and 4 are positive; 1 is missed.
    assert found['accuracy'] == pytest.approx(4 / 6)
    assert found['precision'] == found['recall'] == found['f1'] == pytest.approx(2 / 3)
    assert found['auc'] == pytest.approx(pairwise_auc(score, true)) == pytest.approx(7.5 / 9)


def test_multi_class_metrics_take_log_probabilities(graphgym_cfg: CfgNode) -> None:
    true = torch.tensor([0, 1, 2, 2])
    score = torch.tensor([[5.0, 1, 0], [0, 2, 1], [3, 0, 1], [0, 0, 1]]).log_softmax(1)
    found = values(3, score, true)
    assert found['accuracy'] == pytest.approx(3 / 4)
    # F1 of the classes: 2/3 (one of two right), 1, 2/3 (one of two found).
    assert found['f1'] == pytest.approx((2 / 3 + 1 + 2 / 3) / 3)
    assert found.keys() == {'accuracy', 'f1'}


def test_multi_label_metrics_leave_out_tasks_without_a_label(graphgym_cfg: CfgNode) -> None:
    graphgym_cfg.dataset.task_type = 'classification_multilabel'
    true = torch.tensor([[1.0, 0], [0, 1], [NAN, 1], [1, 0], [0, NAN]])
    score = torch.tensor([[0.8, 0.3], [0.9, 0.2], [0.1, 0.7], [0.6, 0.4], [0.3, 0.9]])
    found = values(2, score, true)
    by_task = [
        pairwise_auc(score[~true[:, task].isnan(), task], true[~true[:, task].isnan(), task])
        for task in range(2)
    ]
    assert found['auc'] == pytest.approx(sum(by_task) / 2) == pytest.approx((2 / 4 + 2 / 4) / 2)
    # Of eight labels, 0.9 for a zero and 0.2 for a one are wrong.
    assert found['accuracy'] == pytest.approx(6 / 8)


@pytest.mark.parametrize(
    ('metric_best', 'names', 'expected'),
    [
        ('auto', ['accuracy', 'auc'], 'auc'),
        ('auto', ['accuracy', 'f1'], 'accuracy'),
        ('f1', ['accuracy', 'f1'], 'f1'),
    ],
)
def test_best_metric_is_the_one_asked_for(
    graphgym_cfg: CfgNode, metric_best: str, names: list[str], expected: str
) -> None:
    graphgym_cfg.metric_best = metric_best
    assert best_metric(names) == expected


def test_best_metric_that_there_is_not_is_refused(graphgym_cfg: CfgNode) -> None:
    graphgym_cfg.metric_best = 'auc'
    with pytest.raises(ValueError, match=r"metric_best needs one of accuracy, f1 for this task, got 'auc'"):
        best_metric(['accuracy', 'f1'])


def test_number_of_outputs_is_that_of_classes_or_tasks(graphgym_cfg: CfgNode) -> None:
    assert num_outputs(Data(y=torch.tensor([0, 3, -1]))) == 4
    graphgym_cfg.dataset.task_type = 'classification_multilabel'
    assert num_outputs(Data(y=torch.zeros(5, 7))) == 7


def test_scores_of_all_tasks_become_probabilities(graphgym_cfg: CfgNode) -> None:
    several = torch.tensor([[1.0, 2, 3], [0, 0, 5]])
    torch.testing.assert_close(loss_and_probability(several, torch.tensor([2, 0]))[1], several.softmax(1))
    binary = torch.tensor([[0.2], [0.7]])
    torch.testing.assert_close(loss_and_probability(binary, torch.tensor([1, 0]))[1], binary[:, 0].sigmoid())
    graphgym_cfg.dataset.task_type = 'classification_multilabel'
    tasks = torch.tensor([[0.2, 0.7]])
    torch.testing.assert_close(loss_and_probability(tasks, torch.ones(1, 2))[1], tasks.sigmoid())


@pytest.mark.parametrize(
    ('given', 'kept'),
    [(torch.float64, torch.float64), (torch.float32, torch.float32), (torch.bfloat16, torch.float32)],
)
def test_probabilities_keep_the_precision_of_the_model(
    graphgym_cfg: CfgNode, given: torch.dtype, kept: torch.dtype
) -> None:
    pred = torch.tensor([30.0, 30.5, -1.0], dtype=given)  # whose sigmoids are one number in float32
    _, probability = loss_and_probability(pred, torch.tensor([0, 1, 0]))
    assert probability.dtype == kept
    assert (probability[0] < probability[1]) == (given == torch.float64)


@pytest.mark.parametrize('value', [float('inf'), -float('inf'), NAN])
def test_a_prediction_that_is_not_finite_has_no_probability(graphgym_cfg: CfgNode, value: float) -> None:
    _, binary = loss_and_probability(torch.tensor([0.0, value]), torch.tensor([1, 1]))
    assert binary.isnan().tolist() == [False, True]
    several = torch.tensor([[0.0, 1, 2], [0, value, 1]])
    assert loss_and_probability(several, torch.tensor([1, 0]))[1].isnan().any(1).tolist() == [False, True]


def multi_label(rng: np.random.Generator, *, missing: float = 0.4) -> tuple[Tensor, Tensor]:
    """Scores and labels of eight tasks: some without a label, or with one class among them."""
    true = rng.integers(2, size=(40, 8)).astype(np.float32)
    true[rng.random(true.shape) < missing] = np.nan
    true[:, 1] = np.nan
    true[:, 2] = np.where(np.isnan(true[:, 2]), np.nan, 0)
    true[:, 5] = 1
    return torch.from_numpy(rng.random(true.shape, dtype=np.float32)), torch.from_numpy(true)


@pytest.mark.parametrize('batch_size', [40, 7])
def test_multi_label_auc_is_the_mean_over_tasks_with_both_classes(
    graphgym_cfg: CfgNode, batch_size: int
) -> None:
    graphgym_cfg.dataset.task_type = 'classification_multilabel'
    score, true = multi_label(np.random.default_rng(0))
    tally = Tally(existing_metrics(8, true))
    for start in range(0, 40, batch_size):  # of which one may lack what all together have
        rows = slice(start, start + batch_size)
        tally.add(torch.zeros(()), 1, score[rows], true[rows])
    by_task = []
    for task in range(8):
        known = ~true[:, task].isnan()
        if len(true[known, task].unique()) == 2:
            by_task.append(roc_auc_score(true[known, task], score[known, task]))
    assert len(by_task) == 5
    found = dict(zip(tally.names, tally.take().tolist(), strict=True))
    assert found['auc'] == pytest.approx(np.mean(by_task), abs=1e-9)


def test_f1_is_the_mean_over_classes_that_occur_or_are_predicted(graphgym_cfg: CfgNode) -> None:
    true = torch.tensor([0, 0, 3, 3, 3, 0])  # neither class 1 nor 2 nor 4
    score = torch.nn.functional.one_hot(torch.tensor([0, 3, 3, 4, 3, 0]), 6) * 5.0
    found = values(6, score, true)
    assert found['f1'] == pytest.approx(f1_score(true, score.argmax(1), average='macro'))


@pytest.mark.parametrize(
    ('labels', 'names'),
    [
        ([0, 1, 0], {'accuracy', 'auc', 'f1', 'precision', 'recall'}),
        ([0, 0, 0], {'accuracy'}),
        ([1, 1, 1], {'accuracy', 'f1', 'precision', 'recall'}),
    ],
)
def test_metrics_that_the_labels_do_not_admit_are_left_out(
    graphgym_cfg: CfgNode, labels: list[int], names: set[str]
) -> None:
    true = torch.tensor(labels)
    assert values(2, torch.rand(3), true).keys() == names
    assert set(metric_names(2)) == {'accuracy', 'auc', 'f1', 'precision', 'recall'}
    graphgym_cfg.dataset.task_type = 'classification_multilabel'
    of_tasks = torch.stack([true.float(), torch.full((3,), NAN)], dim=1)
    found = values(2, torch.rand(3, 2), of_tasks)
    assert found.keys() == names & {'accuracy', 'auc'} - ({'auc'} if len(set(labels)) == 1 else set())


def labels_of(val: list[int], test: list[int]) -> dict[str, Tensor]:
    return {'train': torch.tensor([0, 0]), 'val': torch.tensor(val), 'test': torch.tensor(test)}


def test_selection_by_a_metric_that_does_not_exist_is_refused(graphgym_cfg: CfgNode) -> None:
    both = [0, 1]
    refuse_missing_metric(labels_of(both, both), 2)  # a training set of one class has metrics to show alone
    with pytest.raises(DataError) as caught:
        refuse_missing_metric(labels_of([1, 1, 1], [0, 0]), 2)
    message = str(caught.value)
    assert 'auc of the validation nodes does not exist: all 3 of them have class 1' in message
    assert 'auc of the test nodes does not exist: all 2 of them have class 0' in message
    assert 'Set metric_best accuracy, or choose another split (dataset.split_mode' in message
    with pytest.raises(DataError, match=r'^auc of the test nodes') as caught:
        refuse_missing_metric(labels_of(both, [0]), 2)
    assert 'validation' not in str(caught.value)
    graphgym_cfg.metric_best = 'recall'
    refuse_missing_metric(labels_of([1], both), 2)
    with pytest.raises(DataError, match='recall of the validation nodes does not exist'):
        refuse_missing_metric(labels_of([0], both), 2)
    graphgym_cfg.metric_best = 'accuracy'
    refuse_missing_metric(labels_of([0], [1]), 2)
    graphgym_cfg.metric_best = 'mae'
    with pytest.raises(ConfigError, match='metric_best needs one of accuracy, auc, f1, precision, recall'):
        refuse_missing_metric(labels_of(both, both), 2)


def test_selection_by_an_auc_that_no_task_has_is_refused(graphgym_cfg: CfgNode) -> None:
    graphgym_cfg.dataset.task_type = 'classification_multilabel'
    good = torch.tensor([[0, NAN], [1, 1]])
    refuse_missing_metric({'train': good, 'val': good, 'test': good}, 2)
    bad = torch.tensor([[0, NAN], [0, 1]])
    with pytest.raises(
        DataError, match='none of the 2 tasks has both classes among the labels of its 2 nodes'
    ):
        refuse_missing_metric({'train': good, 'val': bad, 'test': good}, 2)


# --- against torchmetrics ---

FORMS = {'two classes': 2, 'several classes': 5, 'several labels': 4}


def predictions(form: str, rng: np.random.Generator, *, ties: bool) -> tuple[Tensor, Tensor]:
    n, dim = 500, FORMS[form]
    score = rng.random((n, dim) if dim > 2 else n, dtype=np.float32)
    score = np.round(score, 1) if ties else score
    if form != 'several labels':
        return torch.from_numpy(score), torch.from_numpy(rng.integers(min(dim, 4), size=n))
    true = rng.integers(2, size=(n, dim)).astype(np.float32)
    true[rng.random(true.shape) < 0.3] = np.nan
    return torch.from_numpy(score), torch.from_numpy(true)


def of_torchmetrics(form: str) -> MetricCollection:
    dim = FORMS[form]
    if form == 'two classes':
        parts: dict[str, Any] = {
            'accuracy': BinaryAccuracy(), 'auc': BinaryAUROC(), 'f1': BinaryF1Score(),
            'precision': BinaryPrecision(), 'recall': BinaryRecall(),
        }  # fmt: skip
    elif form == 'several classes':
        parts = {
            'accuracy': MulticlassAccuracy(dim, average='micro'),
            'f1': MulticlassF1Score(dim, average='macro'),
        }
    else:
        parts = {
            'accuracy': MultilabelAccuracy(dim, average='micro', ignore_index=-1),
            'auc': MultilabelAUROC(dim, average='macro', ignore_index=-1),
        }
    return MetricCollection(parts, compute_groups=False)


@pytest.mark.parametrize('ties', [False, True])
@pytest.mark.parametrize('form', FORMS)
def test_metrics_are_those_of_torchmetrics(graphgym_cfg: CfgNode, form: str, ties: bool) -> None:
    if form == 'several labels':
        graphgym_cfg.dataset.task_type = 'classification_multilabel'
    score, true = predictions(form, np.random.default_rng(0), ties=ties)
    wanted = of_torchmetrics(form)(score, true.nan_to_num(nan=-1).long())
    found = values(FORMS[form], score, true)
    assert found == pytest.approx({name: float(value) for name, value in wanted.items()}, abs=1e-6)
    assert found.keys() == wanted.keys()


@pytest.mark.parametrize('ties', [False, True])
def test_area_is_exact_and_needs_both_classes(ties: bool) -> None:
    score, true = predictions('two classes', np.random.default_rng(1), ties=ties)
    assert float(area_under_roc(score, true)) == pytest.approx(pairwise_auc(score, true), abs=1e-15)
    assert float(area_under_roc(score.double() * 1e-300, true)) == pytest.approx(
        roc_auc_score(true, score.double() * 1e-300), abs=1e-12
    )
    order = torch.randperm(len(score), generator=torch.Generator().manual_seed(0))
    assert area_under_roc(score[order], true[order]) == area_under_roc(score, true)
    assert area_under_roc(torch.zeros(4), torch.tensor([0, 1, 1, 0])) == 0.5
    assert area_under_roc(score, torch.zeros_like(true)).isnan()
    assert area_under_roc(score, torch.ones_like(true)).isnan()
    assert area_under_roc(score[:0], true[:0]).isnan()
