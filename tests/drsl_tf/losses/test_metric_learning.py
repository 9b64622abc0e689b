"""Tests of the distances, the margin loss, the posterior loss and the class scores."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from drsl_tf.losses import metric_learning
from tests.support import naive

CASES = [(2, 1, 5), (4, 3, 8), (19, 3, 16), (3, 5, 2)]


def _draw_case(num_classes, num_modes, dimension, count=60, seed=0):
    rng = np.random.default_rng([seed, num_classes, num_modes, dimension])
    embedding = naive.draw_unit_vectors(rng, count, dimension)
    modes = naive.draw_unit_vectors(rng, num_classes, num_modes, dimension)
    return embedding, modes, naive.draw_labels(rng, count, num_classes)


@pytest.mark.parametrize("case", CASES)
def test_squared_distances_equal_the_naive_loop(case):
    embedding, modes, _ = _draw_case(*case)
    distances = metric_learning.squared_distances(embedding, modes)
    assert distances.dtype == tf.float32
    assert distances.shape == (len(embedding),) + modes.shape[:2]
    np.testing.assert_allclose(distances, naive.squared_distances(embedding, modes), atol=1e-5)


@pytest.mark.parametrize("dimension", [2, 64, 256])
def test_squared_distances_span_zero_to_four(dimension):
    rng = np.random.default_rng(dimension)
    modes = naive.draw_unit_vectors(rng, 5, 3, dimension)
    embedding = np.concatenate([modes.reshape(-1, dimension), -modes.reshape(-1, dimension)])
    distances = metric_learning.squared_distances(embedding, modes).numpy()
    assert distances.min() >= 0.0
    assert distances.min() < 1e-5
    assert 4.0 - 1e-5 < distances.max() < 4.0 + 1e-5


def test_squared_distances_flatten_a_feature_map():
    embedding, modes, _ = _draw_case(4, 3, 8)
    flat = metric_learning.squared_distances(embedding, modes)
    mapped = metric_learning.squared_distances(embedding.reshape(2, 5, 6, 8), modes)
    np.testing.assert_array_equal(flat, mapped)


@pytest.mark.parametrize("dtype", [tf.float16, tf.bfloat16])
def test_squared_distances_of_lower_precision_are_computed_in_float32(dtype):
    embedding, modes, _ = _draw_case(4, 3, 8)
    low_embedding, low_modes = tf.cast(embedding, dtype), tf.cast(modes, dtype)
    distances = metric_learning.squared_distances(low_embedding, low_modes)
    expected = 2 - 2 * np.einsum(
        "nd,ckd->nck",
        tf.cast(low_embedding, tf.float64).numpy(),
        tf.cast(low_modes, tf.float64).numpy(),
    )
    assert distances.dtype == tf.float32
    np.testing.assert_allclose(distances, np.maximum(expected, 0), atol=1e-5)


def test_clip_keeps_the_gradient_of_every_pixel_but_rounding_errors():
    embedding, modes, _ = _draw_case(4, 3, 8)
    embedding, modes = tf.constant(embedding), tf.constant(modes)
    with tf.GradientTape() as tape:
        tape.watch(embedding)
        total = tf.reduce_sum(metric_learning.squared_distances(embedding, modes))
    expected = -2 * modes.numpy().sum(axis=(0, 1))
    np.testing.assert_allclose(
        tape.gradient(total, embedding), np.tile(expected, (len(embedding), 1)), rtol=1e-5
    )


def test_clip_keeps_the_gradient_at_exactly_zero():
    point = tf.constant([[1.0, 0.0]])
    with tf.GradientTape() as tape:
        tape.watch(point)
        distances = metric_learning.squared_distances(point, tf.constant([[[1.0, 0.0]]]))
    assert float(distances[0, 0, 0]) == 0.0
    np.testing.assert_array_equal(tape.gradient(distances, point), [[-2.0, 0.0]])


def test_squared_distances_take_one_product_and_make_no_difference_tensor():
    function = tf.function(metric_learning.squared_distances).get_concrete_function(
        tf.TensorSpec([None, 8], tf.float32), tf.TensorSpec([4, 3, 8], tf.float32)
    )
    operations = function.graph.get_operations()
    assert sum(operation.type in ("MatMul", "BatchMatMulV2") for operation in operations) == 1
    ranks = [output.shape.rank for operation in operations for output in operation.outputs]
    assert None not in ranks and max(ranks) == 3


def test_squared_distances_agree_with_tensorflow_addons():
    losses = pytest.importorskip("tensorflow_addons").losses
    embedding, modes, _ = _draw_case(19, 3, 16)
    points = tf.concat([embedding, modes.reshape(-1, 16)], axis=0)
    expected = losses.metric_learning.pairwise_distance(points, squared=True)
    distances = metric_learning.squared_distances(embedding, modes)
    np.testing.assert_allclose(
        tf.reshape(distances, [len(embedding), -1]),
        expected[: len(embedding), len(embedding) :],
        atol=1e-5,
    )


@pytest.mark.parametrize("margin", [0.0, 0.5, 1.5])
@pytest.mark.parametrize("case", CASES)
def test_margin_loss_and_its_gradient_equal_the_naive_loop(case, margin):
    embedding, modes, labels = _draw_case(*case)
    distances = tf.constant(naive.squared_distances(embedding, modes), tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(distances)
        total, count = metric_learning.mode_margin_loss(distances, labels, margin)
    expected = naive.mode_margin_loss(distances.numpy(), labels, margin)
    np.testing.assert_allclose(total, expected[0], rtol=1e-5, atol=1e-6)
    assert float(count) == expected[1]
    np.testing.assert_array_equal(tape.gradient(total, distances), expected[2])


@pytest.mark.parametrize("seed", range(20))
def test_margin_loss_is_zero_iff_every_valid_pixel_wins_by_the_margin(seed):
    rng = np.random.default_rng(seed)
    labels = naive.draw_labels(rng, 6, 3)
    # Eighths, so that sums and differences are exact; the own class is near in most cases.
    distances = rng.integers(4, 32, (6, 3, 2)) / 8.0
    for pixel, label in enumerate(labels):
        if label != naive.IGNORE:
            distances[pixel, label] -= rng.integers(0, 4) / 8.0 + 0.25 * (seed % 3)
            distances[pixel, label, 0] = 0.0
    wins = [
        distances[pixel, label].min() + 0.5 <= np.delete(distances[pixel], label, axis=0).min()
        for pixel, label in enumerate(labels)
        if label != naive.IGNORE
    ]
    total, _ = metric_learning.mode_margin_loss(distances, labels, 0.5)
    assert (float(total) == 0.0) == all(wins)


def test_margin_loss_at_the_boundary():
    labels = [0, 1, 255]
    wins_exactly = [[[1.0], [1.5]], [[2.5], [2.0]], [[4.0], [0.0]]]
    assert float(metric_learning.mode_margin_loss(wins_exactly, labels, 0.5)[0]) == 0.0
    one_falls_short = [[[1.0], [1.5]], [[2.375], [2.0]], [[4.0], [0.0]]]
    assert float(metric_learning.mode_margin_loss(one_falls_short, labels, 0.5)[0]) == 0.125


def test_margin_loss_of_a_single_class_is_zero():
    distances = tf.constant([[[0.5, 1.0]], [[3.0, 4.0]]])
    with tf.GradientTape() as tape:
        tape.watch(distances)
        total, count = metric_learning.mode_margin_loss(distances, [0, 0])
    assert (float(total), float(count)) == (0.0, 2.0)
    np.testing.assert_array_equal(tape.gradient(total, distances), np.zeros((2, 1, 2)))


@pytest.mark.parametrize("sigma", [0.1, 0.5, 2.0])
@pytest.mark.parametrize("case", CASES)
def test_posterior_loss_equals_the_naive_loop(case, sigma):
    embedding, modes, labels = _draw_case(*case)
    distances = naive.squared_distances(embedding, modes)
    total, count = metric_learning.mode_posterior_loss(distances, labels, sigma)
    expected = naive.mode_posterior_loss(distances, labels, sigma)
    np.testing.assert_allclose(total, expected[0], rtol=1e-4)
    assert float(count) == expected[1]


def test_posterior_loss_has_a_floor_near_a_quarter_at_nineteen_classes():
    # Best case: a regular simplex of modes, each pixel on a mode of its class.
    vertices = np.eye(19) - 1 / 19
    vertices /= np.linalg.norm(vertices, axis=1, keepdims=True)
    modes = np.repeat(vertices[:, np.newaxis], 3, axis=1)
    distances = metric_learning.squared_distances(vertices, modes)
    total, count = metric_learning.mode_posterior_loss(distances, np.arange(19), sigma=0.5)
    assert 0.22 < float(total / count) < 0.25


def test_posterior_loss_of_a_tiny_sigma_is_finite():
    embedding, modes, labels = _draw_case(4, 3, 8)
    distances = metric_learning.squared_distances(embedding, modes)
    with tf.GradientTape() as tape:
        tape.watch(distances)
        total, _ = metric_learning.mode_posterior_loss(distances, labels, sigma=0.01)
    assert np.isfinite(total)
    assert np.isfinite(tape.gradient(total, distances)).all()


LOSSES = [metric_learning.mode_margin_loss, metric_learning.mode_posterior_loss]


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("case", CASES)
def test_sums_by_class_are_the_sums_of_each_class_alone(case, loss):
    embedding, modes, labels = _draw_case(*case)
    distances = metric_learning.squared_distances(embedding, modes)
    sums, counts = loss(distances, labels, by_class=True)
    assert sums.shape == counts.shape == (modes.shape[0],)
    for c in range(modes.shape[0]):
        total, count = loss(distances, np.where(labels == c, c, 255))
        np.testing.assert_allclose(sums[c], total, rtol=1e-5, atol=1e-6)
        assert float(counts[c]) == float(count)


def test_a_label_beyond_the_classes_is_loud_by_class_too():
    embedding, modes, labels = _draw_case(4, 3, 8)
    labels[0] = 200
    distances = metric_learning.squared_distances(embedding, modes)
    sums, _ = metric_learning.mode_margin_loss(distances, labels, by_class=True)
    assert (sums.numpy() > 1e30).all()


@pytest.mark.parametrize("loss", LOSSES)
def test_permuted_modes_of_a_class_change_nothing(loss):
    embedding, modes, labels = _draw_case(4, 3, 8)
    permuted = np.stack([mode[[2, 0, 1]] for mode in modes])
    totals = [
        loss(metric_learning.squared_distances(embedding, m), labels) for m in (modes, permuted)
    ]
    np.testing.assert_allclose(totals[0], totals[1], rtol=1e-6)


@pytest.mark.parametrize("loss", LOSSES)
def test_ignored_pixels_get_no_gradient_and_others_do(loss):
    embedding, modes, labels = _draw_case(4, 3, 8)
    embedding = tf.constant(embedding)
    with tf.GradientTape() as tape:
        tape.watch(embedding)
        distances = metric_learning.squared_distances(embedding, modes)
        total, _ = loss(distances, labels)
    gradient = tape.gradient(total, embedding).numpy()
    assert np.all(gradient[labels == naive.IGNORE] == 0.0)
    assert np.any(gradient[labels != naive.IGNORE] != 0.0, axis=1).mean() > 0.5


@pytest.mark.parametrize("loss", LOSSES)
def test_all_ignored_pixels_give_zero_and_zero_gradients(loss):
    embedding, modes, _ = _draw_case(4, 3, 8)
    embedding, modes = tf.constant(embedding), tf.constant(modes)
    with tf.GradientTape() as tape:
        tape.watch([embedding, modes])
        distances = metric_learning.squared_distances(embedding, modes)
        total, count = loss(distances, np.full(len(embedding), naive.IGNORE))
    assert (float(total), float(count)) == (0.0, 0.0)
    for gradient in tape.gradient(total, [embedding, modes]):
        assert np.all(gradient.numpy() == 0.0)


@pytest.mark.parametrize("loss", LOSSES)
def test_sums_and_counts_add_up_over_parts_of_a_batch(loss):
    embedding, modes, labels = _draw_case(19, 3, 16)
    distances = metric_learning.squared_distances(embedding, modes)
    whole = loss(distances, labels)
    parts = [loss(distances[a:b], labels[a:b]) for a, b in ((0, 7), (7, 40), (40, 60))]
    np.testing.assert_allclose(whole, np.sum(parts, axis=0), rtol=1e-5)


@pytest.mark.parametrize("loss", LOSSES)
def test_losses_trace_once_for_every_number_of_pixels(loss):
    @tf.function(
        input_signature=[
            tf.TensorSpec([None, None], tf.float16),
            tf.TensorSpec([None, None, None], tf.float16),
            tf.TensorSpec([None], tf.uint8),
        ]
    )
    def compute(embedding, modes, labels):
        return loss(metric_learning.squared_distances(embedding, modes), labels)

    embedding, modes, labels = _draw_case(4, 3, 8)
    for count in (1, 13, 60):
        half = (embedding[:count].astype(np.float16), modes.astype(np.float16))
        total, valid = compute(*half, labels[:count].astype(np.uint8))
        expected = loss(metric_learning.squared_distances(*half), labels[:count])
        assert total.dtype == valid.dtype == tf.float32
        np.testing.assert_allclose((total, valid), expected, rtol=1e-5)
    assert compute.experimental_get_tracing_count() == 1


@pytest.mark.parametrize("loss", LOSSES)
def test_foreign_labels_never_count_in_silence(loss):
    embedding, modes, _ = _draw_case(4, 3, 8)
    distances = metric_learning.squared_distances(embedding[:2], modes)
    try:
        total, _ = loss(distances, [0, 4])
    except tf.errors.InvalidArgumentError:
        return
    assert not float(total) < 1e30


@pytest.mark.parametrize("case", CASES)
def test_scores_by_usage_equal_the_naive_loop_in_any_order_of_modes(case):
    embedding, modes, _ = _draw_case(*case)
    usage = np.random.default_rng(1).dirichlet(np.ones(modes.shape[1]), len(modes))
    usage = usage.astype(np.float32)
    expected = naive.mode_log_scores(embedding, modes, usage, 0.2)
    for order in (slice(None), slice(None, None, -1)):
        distances = metric_learning.squared_distances(embedding, modes[:, order])
        found = metric_learning.mode_log_scores(distances, usage[:, order], 0.2)
        np.testing.assert_allclose(found, expected, atol=1e-4)


@pytest.mark.parametrize("case", CASES)
def test_nearest_modes_equal_the_naive_loop(case):
    embedding, modes, labels = _draw_case(*case)
    distances = naive.squared_distances(embedding, modes)
    nearest = metric_learning.nearest_modes(distances, labels)
    expected = [
        -1 if label == naive.IGNORE else distances[pixel, label].argmin()
        for pixel, label in enumerate(labels)
    ]
    assert nearest.dtype == tf.int32
    np.testing.assert_array_equal(nearest, expected)
