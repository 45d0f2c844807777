"""Splits: sizes, determinism, and what is refused."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from graphgps_ext.transform.split import (
    Split,
    class_balanced_split,
    fixed_split,
    labeled_nodes,
    num_fixed_splits,
    random_split,
)


def mask(*nodes: int, size: int = 6) -> torch.Tensor:
    return torch.tensor([node in nodes for node in range(size)])


def sizes(split: Split) -> tuple[int, int, int]:
    return int(split.train.sum()), int(split.val.sum()), int(split.test.sum())


def equal(a: Split, b: Split) -> bool:
    return all(torch.equal(x, y) for x, y in ((a.train, b.train), (a.val, b.val), (a.test, b.test)))


def test_random_split_of_the_grid_is_50_25_25() -> None:
    assert sizes(random_split(10_000, [0.5, 0.25, 0.25], seed=0)) == (5000, 2500, 2500)


@settings(deadline=None, max_examples=60)
@given(
    num_nodes=st.integers(12, 200),
    train=st.floats(0.2, 0.6),
    val=st.floats(0.1, 0.3),
    seed=st.integers(0, 99),
)
def test_random_split_puts_each_candidate_into_one_part(
    num_nodes: int, train: float, val: float, seed: int
) -> None:
    candidates = torch.arange(num_nodes) % 3 != 0
    split = random_split(num_nodes, [train, val, 1 - train - val], seed, candidates)
    assert torch.equal(split.train.int() + split.val.int() + split.test.int(), candidates.int())
    n = int(candidates.sum())
    assert sizes(split)[:2] == (round(train * n), round(val * n))


def test_splits_are_a_function_of_their_seed_alone() -> None:
    y = torch.arange(60) % 3
    torch.manual_seed(1)
    state = torch.get_rng_state()
    first = random_split(60, [0.5, 0.25, 0.25], 7), class_balanced_split(y, 0.5, 7)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(2)
    second = random_split(60, [0.5, 0.25, 0.25], 7), class_balanced_split(y, 0.5, 7)
    other = random_split(60, [0.5, 0.25, 0.25], 8), class_balanced_split(y, 0.5, 8)
    assert all(map(equal, first, second))
    assert not any(map(equal, first, other))


def test_random_split_is_pinned() -> None:
    # A changed draw makes stored scores and published numbers incomparable: it may not happen unnoticed.
    split = random_split(10, [0.5, 0.2, 0.3], seed=0)
    assert split.train.nonzero().flatten().tolist() == [1, 4, 6, 7, 9]


def test_split_is_not_the_permutation_that_an_equal_bare_seed_draws() -> None:
    # An expander drawn with the same number would otherwise link the training nodes.
    bare = torch.randperm(100, generator=torch.Generator().manual_seed(3))[:50]
    train = random_split(100, [0.5, 0.25, 0.25], seed=3).train
    assert 10 < int(train[bare].sum()) < 40


def test_every_node_is_as_likely_to_be_trained_on() -> None:
    num_seeds = 2000
    y = torch.tensor([0] * 4 + [1] * 8)  # class-balanced: 3 of 4 and 3 of 8
    uniform = torch.stack([random_split(12, [0.5, 0.25, 0.25], s).train for s in range(num_seeds)])
    balanced = torch.stack([class_balanced_split(y, 0.5, s).train for s in range(num_seeds)])
    expected = torch.tensor([3 / 4] * 4 + [3 / 8] * 8)
    # five standard deviations of a frequency over 2,000 draws
    torch.testing.assert_close(uniform.float().mean(0), torch.full((12,), 0.5), atol=0.056, rtol=0)
    torch.testing.assert_close(balanced.float().mean(0), expected, atol=0.056, rtol=0)


def test_class_balanced_split_gives_each_class_the_same_number_and_halves_the_rest() -> None:
    y = torch.tensor([0] * 30 + [1] * 40 + [2] * 51 + [-1] * 9)
    split = class_balanced_split(y, 0.5, seed=0)
    assert y[split.train].bincount().tolist() == [20, 20, 20]  # round(0.5 · 121 / 3)
    assert sizes(split) == (60, 30, 31)
    assert not (split.train | split.val | split.test)[y < 0].any()
    assert torch.equal(split.train | split.val | split.test, y >= 0)


def test_class_balanced_split_names_the_class_that_is_too_small() -> None:
    y = torch.tensor([0] * 5 + [1] * 95)
    with pytest.raises(
        ValueError, match=r'class 0 has 5 labelled nodes.*needs 25 training nodes.*dataset\.split\[0\]'
    ):
        class_balanced_split(y, 0.5, 0)


def test_class_balanced_split_refuses_multi_label_and_bad_ratios() -> None:
    with pytest.raises(ValueError, match=r'one integer class per node.*\[4, 3\].*set dataset\.split_mode'):
        class_balanced_split(torch.zeros(4, 3), 0.5, 0)
    with pytest.raises(ValueError, match=r'dataset\.split needs a training ratio between 0 and 1, got 1\.5'):
        class_balanced_split(torch.zeros(4, dtype=torch.long), 1.5, 0)


@pytest.mark.parametrize('ratios', [[0.5, 0.5], [0.5, 0.5, 0.0], [0.5, 0.3, 0.3], [1.2, -0.1, -0.1]])
def test_random_split_refuses_ratios_that_are_no_shares(ratios: list[float]) -> None:
    with pytest.raises(ValueError, match=r'dataset\.split needs three positive ratios .* sum to 1, got \['):
        random_split(10, ratios, 0)


def test_random_split_refuses_candidates_of_another_graph() -> None:
    with pytest.raises(ValueError, match=r'candidates needs shape \[10\] and dtype bool, got \[9\]'):
        random_split(10, [0.5, 0.25, 0.25], 0, torch.ones(9, dtype=torch.bool))


def test_fixed_split_takes_one_column_and_leaves_out_nodes_without_a_label() -> None:
    train = torch.stack([mask(0, 1), mask(2, 3)], dim=1)
    val = torch.stack([mask(2), mask(0)], dim=1)
    test = torch.stack([mask(3, 4), mask(4, 5)], dim=1)
    split = fixed_split(train, val, test, 1, labeled=mask(0, 1, 2, 4, 5))
    assert equal(split, Split(mask(2), mask(0), mask(4, 5)))


def test_fixed_split_shares_a_single_mask_between_all_columns() -> None:
    train = torch.stack([mask(0, 1), mask(2, 3)], dim=1)
    val = torch.stack([mask(2), mask(0)], dim=1)
    assert num_fixed_splits(train, val, mask(4, 5)) == 2
    assert equal(fixed_split(train, val, mask(4, 5), 1), Split(mask(2, 3), mask(0), mask(4, 5)))


@pytest.mark.parametrize('index', [-1, 2])
def test_fixed_split_names_the_key_and_the_valid_range(index: int) -> None:
    train, val, test = (torch.stack([mask(i), mask(i)], dim=1) for i in range(3))
    with pytest.raises(ValueError, match=rf'dataset\.split_index must be in 0\.\.1 .*got {index}'):
        fixed_split(train, val, test, index)


def test_fixed_split_refuses_masks_with_different_numbers_of_columns() -> None:
    two, three = mask(0)[:, None].repeat(1, 2), mask(1)[:, None].repeat(1, 3)
    with pytest.raises(ValueError, match=r'one number of columns, got \[2, 3\]'):
        fixed_split(two, three, mask(2), 0)


@pytest.mark.parametrize(
    ('parts', 'message'),
    [
        ((mask(), mask(1), mask(2)), r'the train mask is empty.*dataset\.split'),
        ((mask(0), mask(), mask(2)), r'the val mask is empty.*dataset\.split_index'),
        ((mask(0), mask(1), mask()), r'the test mask is empty.*dataset\.split_mode'),
        ((mask(0), mask(0, 1), mask(2)), r'the train and val masks share 1 nodes.*dataset\.split_mode'),
        ((mask(0, 3), mask(1), mask(0, 3)), r'the train and test masks share 2 nodes'),
        ((mask(0), mask(1), mask(1)), r'the val and test masks share 1 nodes'),
        ((mask(0), mask(1), mask(2, size=7)), r'the test mask needs shape \[6\] and dtype bool, got \[7\]'),
        ((mask(0), mask(1).long(), mask(2)), r'the val mask needs .* got \[6\] torch\.int64'),
    ],
)
def test_split_refuses_what_is_no_split(parts: tuple[torch.Tensor, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Split(*parts)


def test_labeled_nodes_are_those_with_a_class_or_a_known_task() -> None:
    nan = float('nan')
    assert labeled_nodes(torch.tensor([0, -1, 3])).tolist() == [True, False, True]
    assert labeled_nodes(torch.tensor([0.0, nan, 1.0])).tolist() == [True, False, True]
    assert labeled_nodes(torch.tensor([[0.0, nan], [nan, nan], [1.0, 0.0]])).tolist() == [True, False, True]
