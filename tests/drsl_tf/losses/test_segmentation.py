"""Tests of the cross-entropy and of the sampling of labels."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from drsl_tf.losses import segmentation
from tests.support import naive


def _draw_case(shape=(2, 5, 7), num_classes=6, scale=3.0, seed=0):
    rng = np.random.default_rng(seed)
    logits = (scale * rng.normal(size=(*shape, num_classes))).astype(np.float32)
    labels = naive.draw_labels(rng, np.prod(shape), num_classes).reshape(shape)
    return logits, labels, rng.random(shape).astype(np.float32)


def _compute_gradient(logits, labels, **settings):
    logits = tf.constant(logits)
    with tf.GradientTape() as tape:
        tape.watch(logits)
        total, count = segmentation.cross_entropy_loss(logits, labels, **settings)
    return float(total), float(count), tape.gradient(total, logits).numpy()


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("scale", [0.1, 3.0, 50.0])
def test_loss_and_gradient_equal_the_naive_loop(scale, weighted):
    logits, labels, weights = _draw_case(scale=scale)
    weights = weights if weighted else None
    total, count, gradient = _compute_gradient(logits, labels, weights=weights)
    expected = naive.cross_entropy_loss(logits, labels, weights)
    np.testing.assert_allclose(total, expected[0], rtol=1e-5)
    assert count == expected[1] == np.count_nonzero(labels != naive.IGNORE)
    np.testing.assert_allclose(gradient, expected[2], atol=1e-5)


def test_divergence_from_uniform_equals_the_naive_loop():
    logits, labels, _ = _draw_case()
    values = tf.constant(logits)
    with tf.GradientTape() as tape:
        tape.watch(values)
        total, count = segmentation.uniform_divergence_loss(values, labels)
    expected = naive.uniform_divergence_loss(logits, labels)
    np.testing.assert_allclose(total, expected[0], rtol=1e-5)
    assert float(count) == expected[1]
    np.testing.assert_allclose(tape.gradient(total, values), expected[2], atol=1e-6)


def test_divergence_is_0_for_uniform_predictions_alone():
    labels = np.zeros((1, 2, 3), np.int32)
    uniform = segmentation.uniform_divergence_loss(tf.fill((1, 2, 3, 4), 7.0), labels)
    np.testing.assert_allclose(uniform, [0.0, 6.0], atol=1e-5)
    logits, labels, _ = _draw_case(scale=0.5)
    assert float(segmentation.uniform_divergence_loss(logits, labels)[0]) > 0
    ignored = segmentation.uniform_divergence_loss(logits, np.full(labels.shape, 255))
    np.testing.assert_array_equal(ignored, [0.0, 0.0])


@pytest.mark.parametrize("dtype", [tf.float16, tf.bfloat16, tf.float64])
def test_every_float_dtype_is_computed_in_float32(dtype):
    logits, labels, _ = _draw_case()
    logits = tf.cast(logits, dtype)
    total, count = segmentation.cross_entropy_loss(logits, labels)
    expected = naive.cross_entropy_loss(tf.cast(logits, tf.float64).numpy(), labels)
    assert total.dtype == count.dtype == tf.float32
    np.testing.assert_allclose(total, expected[0], rtol=1e-5)


@pytest.mark.parametrize("extreme", [1e4, 1e30, 3.4e38])
def test_ignored_pixels_of_extreme_logits_get_no_gradient(extreme):
    logits, labels, weights = _draw_case()
    ignored = labels == naive.IGNORE
    logits[ignored] = extreme * np.sign(logits[ignored])
    for settings in ({}, {"weights": weights}):
        total, _, gradient = _compute_gradient(logits, labels, **settings)
        assert np.isfinite(total)
        assert np.isfinite(gradient).all()
        assert np.all(gradient[ignored] == 0.0)
        assert np.all(np.any(gradient[~ignored] != 0.0, axis=-1))


def test_all_ignored_pixels_give_zero_and_zero_gradients():
    logits, labels, _ = _draw_case()
    total, count, gradient = _compute_gradient(logits, np.full_like(labels, naive.IGNORE))
    assert (total, count) == (0.0, 0.0)
    assert np.all(gradient == 0.0)


def test_absent_classes_give_a_finite_loss():
    logits, labels, _ = _draw_case()
    total, count, gradient = _compute_gradient(logits, np.zeros_like(labels))
    assert np.isfinite(total) and count == labels.size
    assert np.isfinite(gradient).all()


@pytest.mark.parametrize("weighted", [False, True])
def test_sums_and_counts_add_up_over_parts_of_a_batch(weighted):
    logits, labels, weights = _draw_case(shape=(5, 4, 6))

    def compute(part):
        chosen = weights[part] if weighted else None
        return segmentation.cross_entropy_loss(logits[part], labels[part], weights=chosen)

    parts = [compute(slice(a, b)) for a, b in ((0, 1), (1, 3), (3, 5))]
    np.testing.assert_allclose(compute(slice(None)), np.sum(parts, axis=0), rtol=1e-5)


def test_no_gradient_flows_into_the_weights():
    logits, labels, weights = _draw_case()
    weights = tf.constant(weights)
    with tf.GradientTape() as tape:
        tape.watch(weights)
        total, _ = segmentation.cross_entropy_loss(logits, labels, weights=weights)
    assert tape.gradient(total, weights) is None


def test_foreign_labels_never_count_in_silence():
    logits, labels, _ = _draw_case()
    labels[0, 0, 0] = 6
    try:
        total, _ = segmentation.cross_entropy_loss(logits, labels)
    except tf.errors.InvalidArgumentError:
        return
    assert np.isnan(total)


def test_loss_traces_once_for_every_size():
    @tf.function(
        input_signature=[
            tf.TensorSpec([None, None, None, None], tf.float32),
            tf.TensorSpec([None, None, None], tf.uint8),
        ]
    )
    def compute(logits, labels):
        return segmentation.cross_entropy_loss(logits, labels)

    for shape in ((1, 1, 1), (2, 5, 7), (3, 8, 4)):
        logits, labels, _ = _draw_case(shape)
        expected = naive.cross_entropy_loss(logits, labels)[:2]
        np.testing.assert_allclose(compute(logits, labels.astype(np.uint8)), expected, rtol=1e-5)
    assert compute.experimental_get_tracing_count() == 1


@pytest.mark.parametrize("dtype", [np.int32, np.uint8])
@pytest.mark.parametrize(
    "size", [(8, 16), (16, 32), (1, 1), (5, 9), (7, 3), (64, 128), (33, 65), (100, 200)]
)
def test_samples_are_nearest_to_half_pixel_centres(size, dtype):
    labels = np.random.default_rng(0).integers(0, 256, (2, 64, 128)).astype(dtype)
    sampled = segmentation.sample_labels(labels, size)
    assert sampled.dtype == dtype
    expected = np.zeros((2, *size), dtype)
    for i in range(size[0]):
        for j in range(size[1]):
            # Exact: the pixel that holds the centre, in integers.
            row, column = (2 * i + 1) * 64 // (2 * size[0]), (2 * j + 1) * 128 // (2 * size[1])
            expected[:, i, j] = labels[:, row, column]
    np.testing.assert_array_equal(sampled, expected)


@pytest.mark.parametrize("size", [(8, 16), (16, 32), (32, 128), (64, 128), (128, 256)])
def test_samples_agree_with_nearest_resizing(size):
    labels = np.random.default_rng(0).integers(0, 256, (2, 64, 128)).astype(np.int32)
    expected = tf.image.resize(labels[..., np.newaxis], size, method="nearest")[..., 0]
    np.testing.assert_array_equal(segmentation.sample_labels(labels, size), expected)


@pytest.mark.parametrize("stride", [4, 8, 16])
def test_samples_of_upsampled_logits_give_the_logits_back(stride):
    """Labels and logits stay aligned: no shift by half a cell either way."""
    classes = np.random.default_rng(stride).integers(0, 5, (1, 6, 9))
    logits = tf.one_hot(classes, 5)
    upsampled = tf.image.resize(logits, (6 * stride, 9 * stride), method="bilinear")
    labels = tf.argmax(upsampled, axis=-1, output_type=tf.int32)
    np.testing.assert_array_equal(segmentation.sample_labels(labels, (6, 9)), classes)


def test_samples_of_unknown_sizes():
    @tf.function(
        input_signature=[tf.TensorSpec([None] * 3, tf.int32), tf.TensorSpec([2], tf.int32)]
    )
    def compute(labels, size):
        return segmentation.sample_labels(labels, size)

    labels = np.random.default_rng(0).integers(0, 256, (2, 20, 30)).astype(np.int32)
    for size in ((5, 6), (3, 7)):
        expected = segmentation.sample_labels(labels, size)
        np.testing.assert_array_equal(compute(labels, size), expected)
