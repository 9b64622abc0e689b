"""Paired differences against computation by hand."""

import numpy as np
import pytest

from benchmarks.comparison import paired


def test_interval_of_three_pairs_by_hand():
    difference = paired.compare_pairs([3.0, 5.0, 7.0], [1.0, 1.0, 1.0])
    # Differences 2, 4, 6: mean 4, sd 2, half width 4.302653 * 2 / sqrt(3).
    assert difference.mean == pytest.approx(4.0)
    assert difference.high - 4.0 == pytest.approx(4.302653 * 2 / np.sqrt(3))
    assert 4.0 - difference.low == pytest.approx(difference.high - 4.0)


def test_one_pair_has_no_interval():
    assert paired.compare_pairs([3.0], [1.0]) == (2.0, None, None)
    assert paired.compute_sd([3.0]) is None


def test_a_shift_common_to_both_changes_nothing():
    values, others, shift = np.random.default_rng(0).normal(size=(3, 5))
    first = paired.compare_pairs(values.tolist(), others.tolist())
    second = paired.compare_pairs((values + shift).tolist(), (others + shift).tolist())
    np.testing.assert_allclose(first, second)


@pytest.mark.parametrize("count", [3, 30])
def test_intervals_cover_the_truth_in_95_percent(count):
    generator = np.random.default_rng(1)
    hits = 0
    for _ in range(1000):
        values = generator.normal(1.0, 2.0, count).tolist()
        _, low, high = paired.compare_pairs(values, [0.0] * count)
        hits += low <= 1.0 <= high
    assert 925 <= hits <= 975


def test_lists_that_do_not_pair_are_refused():
    with pytest.raises(ValueError, match="pair"):
        paired.compare_pairs([1.0], [1.0, 2.0])
