"""The competition of modes against loops over pixels."""

import numpy as np
import pytest
import tensorflow as tf

from drsl_tf.losses import metric_learning
from tests.support import naive


def _draw_case(num_classes=3, num_modes=2, count=40, seed=0):
    """Draws distances of unit vectors in a few dimensions, labels and usage."""
    rng = np.random.default_rng(seed)
    embedding = naive.draw_unit_vectors(rng, count, 4)
    modes = naive.draw_unit_vectors(rng, num_classes, num_modes, 4)
    usage = rng.uniform(0.1, 1.0, (num_classes, num_modes))
    usage /= usage.sum(axis=1, keepdims=True)
    distances = metric_learning.squared_distances(embedding, modes)
    labels = naive.draw_labels(rng, count, num_classes)
    return distances, labels, tf.constant(usage, tf.float32)


def _find_cosines(distances):
    return 1.0 - distances.numpy().astype(np.float64) / 2.0


def _sum_up(distances, labels, usage, **settings):
    """Returns sums, counts, and the gradients with respect to distances and usage."""
    with tf.GradientTape() as tape:
        tape.watch([distances, usage])
        sums, counts = metric_learning.mode_sibling_loss(distances, labels, usage, **settings)
        total = tf.reduce_sum(sums)
    return sums, counts, *tape.gradient(total, [distances, usage])


@pytest.mark.parametrize("rivalry", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("num_classes, num_modes", [(3, 2), (4, 1), (1, 3), (5, 4)])
def test_loss_and_gradient_equal_the_naive_loop(num_classes, num_modes, rivalry):
    distances, labels, usage = _draw_case(num_classes, num_modes)
    case = (_find_cosines(distances), labels, usage.numpy(), 0.1, rivalry)
    totals, counts, gradient = naive.mode_sibling_loss(*case)
    sums, found, slope, _ = _sum_up(distances, labels, usage, rivalry=rivalry, by_class=True)
    np.testing.assert_allclose(sums, totals, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(found, counts)
    # s = 1 - D2 / 2.
    np.testing.assert_allclose(slope, -gradient / 2, rtol=1e-4, atol=1e-5)
    total, number, _, _ = _sum_up(distances, labels, usage, rivalry=rivalry)
    np.testing.assert_allclose(total, totals.sum(), rtol=1e-4)
    assert number == counts.sum()


@pytest.mark.parametrize("temperature", [0.05, 1.0])
def test_the_more_frequent_of_near_modes_wins(temperature):
    distances, labels, usage = _draw_case(num_modes=3)
    chosen = metric_learning.competing_modes(distances, labels, usage, temperature)
    cosines = _find_cosines(distances)
    assert chosen.numpy().tolist() == naive.competing_modes(
        cosines, labels, usage.numpy(), temperature
    )
    nearest = metric_learning.nearest_modes(distances, labels)
    assert (temperature == 1.0) == bool(np.any(chosen != nearest))
    equal = tf.fill(usage.shape, 1 / 3)
    even = metric_learning.competing_modes(distances, labels, equal, temperature)
    np.testing.assert_array_equal(even, nearest)


def test_an_unused_mode_wins_no_pixel_and_no_number_is_infinite():
    distances, labels, _ = _draw_case()
    usage = tf.constant([[1.0, 0.0]] * 3)
    chosen = metric_learning.competing_modes(distances, labels, usage, 1.0)
    np.testing.assert_array_equal(chosen, np.where(labels == naive.IGNORE, -1, 0))
    sums, _, slope, _ = _sum_up(distances, labels, usage, rivalry=0.0)
    assert np.isfinite(sums) and np.all(np.isfinite(slope))


def test_the_order_of_the_modes_changes_nothing():
    distances, labels, usage = _draw_case(num_modes=3)
    order = [2, 0, 1]
    permuted = [tf.gather(each, order, axis=-1) for each in (distances, usage)]
    sums, _, slope, _ = _sum_up(distances, labels, usage, rivalry=0.5)
    others, _, other_slope, _ = _sum_up(permuted[0], labels, permuted[1], rivalry=0.5)
    np.testing.assert_allclose(sums, others, rtol=1e-5)
    np.testing.assert_allclose(tf.gather(slope, order, axis=-1), other_slope, rtol=1e-4, atol=1e-5)


def test_ignored_pixels_and_usage_have_no_gradient():
    distances, labels, usage = _draw_case()
    _, _, slope, usage_slope = _sum_up(distances, labels, usage)
    assert usage_slope is None
    is_ignored = labels == naive.IGNORE
    assert 0 < is_ignored.sum() < len(labels)
    np.testing.assert_array_equal(slope.numpy()[is_ignored], 0)
    assert np.abs(slope.numpy()[~is_ignored]).max(axis=(1, 2)).min() > 0
    sums, counts, slope, _ = _sum_up(distances, np.full(40, naive.IGNORE), usage)
    assert sums == 0 and counts == 0 and not np.any(slope)


def test_a_single_mode_has_no_loss():
    distances, labels, usage = _draw_case(num_classes=1, num_modes=1)
    sums, counts, slope, _ = _sum_up(distances, labels, usage)
    assert sums == 0 and counts > 0 and not np.any(slope)
