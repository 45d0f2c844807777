"""Metrics by task, against formulas by hand."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor
from torch_geometric.data import Data
from yacs.config import CfgNode

from graphgps_ext.train.metrics import best_metric, build_metrics, num_outputs, probabilities, targets

NAN = float('nan')


def pairwise_auc(score: Tensor, true: Tensor) -> float:
    """Share of pairs of a positive and a negative in the right order; a tie counts half."""
    pairs = itertools.product(score[true == 1].tolist(), score[true == 0].tolist())
    return sum((a > b) + 0.5 * (a == b) for a, b in pairs) / int((true == 1).sum() * (true == 0).sum())


def values(metrics: object, score: Tensor, true: Tensor) -> dict[str, float]:
    return {name: float(value) for name, value in metrics(score, true).items()}


def test_binary_metrics_are_those_of_the_formulas(graphgym_cfg: CfgNode) -> None:
    score = torch.tensor([0.9, 0.4, 0.6, 0.1, 0.6, 0.2])
    true = torch.tensor([1, 1, 0, 0, 1, 0])
    found = values(build_metrics(2), score, true)
    # Above one half: 0, 2 and 4, of which 0 and 4 are positive; 1 is missed.
    assert found['accuracy'] == pytest.approx(4 / 6)
    assert found['precision'] == found['recall'] == found['f1'] == pytest.approx(2 / 3)
    assert found['auc'] == pytest.approx(pairwise_auc(score, true)) == pytest.approx(7.5 / 9)


def test_multi_class_metrics_take_log_probabilities(graphgym_cfg: CfgNode) -> None:
    true = torch.tensor([0, 1, 2, 2])
    score = torch.tensor([[5.0, 1, 0], [0, 2, 1], [3, 0, 1], [0, 0, 1]]).log_softmax(1)
    found = values(build_metrics(3), score, true)
    assert found['accuracy'] == pytest.approx(3 / 4)
    # F1 of the classes: 2/3 (one of two right), 1, 2/3 (one of two found).
    assert found['f1'] == pytest.approx((2 / 3 + 1 + 2 / 3) / 3)
    assert found.keys() == {'accuracy', 'f1'}


def test_multi_label_metrics_leave_out_tasks_without_a_label(graphgym_cfg: CfgNode) -> None:
    graphgym_cfg.dataset.task_type = 'classification_multilabel'
    true = torch.tensor([[1.0, 0], [0, 1], [NAN, 1], [1, 0], [0, NAN]])
    score = torch.tensor([[0.8, 0.3], [0.9, 0.2], [0.1, 0.7], [0.6, 0.4], [0.3, 0.9]])
    found = values(build_metrics(2), score, targets(true))
    by_task = [
        pairwise_auc(score[~true[:, task].isnan(), task], true[~true[:, task].isnan(), task])
        for task in range(2)
    ]
    assert found['auc'] == pytest.approx(sum(by_task) / 2) == pytest.approx((2 / 4 + 2 / 4) / 2)
    # Of eight labels, 0.9 for a zero and 0.2 for a one are wrong.
    assert found['accuracy'] == pytest.approx(6 / 8)


def test_targets_are_integers_with_minus_one_for_no_label() -> None:
    assert targets(torch.tensor([[1.0, NAN], [0.0, 1.0]])).tolist() == [[1, -1], [0, 1]]
    assert targets(torch.tensor([2, 0])).tolist() == [2, 0]


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
    several = torch.tensor([[1.0, 2, 3]]).log_softmax(1)
    torch.testing.assert_close(probabilities(several).sum(1), torch.ones(1))
    binary = torch.tensor([0.2, 0.7])
    assert torch.equal(probabilities(binary), binary)
    graphgym_cfg.dataset.task_type = 'classification_multilabel'
    tasks = torch.tensor([[0.2, 0.7]])
    assert torch.equal(probabilities(tasks), tasks)
