"""Bilinear resizing to another map's size."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from drsl_tf.networks.layers.resize_like import ResizeLike


def _resize_naively(x, height, width):
    """Bilinear with half-pixel centres, one output pixel at a time."""
    result = np.zeros((height, width, x.shape[-1]))
    for row in range(height):
        for column in range(width):
            y = np.clip((row + 0.5) * x.shape[0] / height - 0.5, 0, x.shape[0] - 1)
            z = np.clip((column + 0.5) * x.shape[1] / width - 0.5, 0, x.shape[1] - 1)
            top, left = int(y), int(z)
            bottom, right = min(top + 1, x.shape[0] - 1), min(left + 1, x.shape[1] - 1)
            a, b = y - top, z - left
            result[row, column] = (1 - a) * ((1 - b) * x[top, left] + b * x[top, right]) + a * (
                (1 - b) * x[bottom, left] + b * x[bottom, right]
            )
    return result


@pytest.mark.parametrize("size", [(6, 8), (5, 7), (3, 4)])
def test_equals_a_naive_loop(size):
    x = np.random.default_rng(0).normal(size=(1, 3, 4, 2)).astype("float32")
    result = ResizeLike()([tf.constant(x), tf.zeros((1, *size, 9))])
    np.testing.assert_allclose(result[0], _resize_naively(x[0], *size), atol=1e-5)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_keeps_half_precision(precision, dtype):
    precision(f"mixed_{dtype}")
    x = tf.ones((1, 3, 4, 2), dtype)
    assert ResizeLike()([x, tf.zeros((1, 6, 8, 1), dtype)]).dtype == dtype


def test_round_trip_and_shape():
    layer = ResizeLike(name="resize")
    copy = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    assert copy.get_config() == layer.get_config()
    shapes = [(2, 3, 4, 5), (2, None, 8, 1)]
    assert layer.compute_output_shape(shapes) == (2, None, 8, 5)
