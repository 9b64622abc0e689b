"""Means of means, and the parts that they add up from."""

import numpy as np
import tensorflow as tf

from drsl_tf.losses.term_means import TermMeans


def test_means_are_over_the_groups_that_have_pixels():
    means = TermMeans([1, 3, 2])
    sums = means.join([6.0, tf.constant([2.0, 0.0, 9.0]), tf.constant([0.0, 0.0])])
    counts = means.join([4.0, tf.constant([1.0, 0.0, 3.0]), tf.constant([0.0, 0.0])])
    np.testing.assert_array_equal(means.compute(sums, counts), [1.5, (2 + 3) / 2, 0.0])
    np.testing.assert_array_equal(means.find_present(counts), [1.0, 1.0, 0.0])


def test_parts_add_up_to_the_mean_of_the_whole():
    rng = np.random.default_rng(0)
    means = TermMeans([1, 5])
    sums, counts = rng.uniform(size=(3, 6)), rng.integers(0, 2, (3, 6))
    whole = counts.sum(0).astype(np.float32)
    parts = [means.compute(tf.constant(part, tf.float32), whole) for part in sums]
    expected = means.compute(tf.constant(sums.sum(0), tf.float32), whole)
    np.testing.assert_allclose(sum(parts), expected, rtol=1e-6)


def test_a_scalar_stands_for_each_group_of_a_term():
    np.testing.assert_array_equal(TermMeans([2, 1]).join([0.0, 7.0]), [0.0, 0.0, 7.0])


def test_a_term_that_is_not_finite_leaves_the_others_alone():
    means = TermMeans([2, 1])
    values = means.compute(means.join([[np.inf, 1.0], 3.0]), means.join([[1.0, 1.0], 2.0]))
    np.testing.assert_array_equal(values, [np.inf, 1.5])
