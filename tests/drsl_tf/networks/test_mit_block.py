"""The transformer block of MiT against naive numpy and against KerasCV."""

from __future__ import annotations

import math

import keras
import numpy as np
import pytest
import tensorflow as tf

from drsl_tf.networks.layers.efficient_attention import EfficientAttention
from drsl_tf.networks.layers.mit_block import MitBlock


def _randomise(layer, seed=0):
    generator = np.random.default_rng(seed)
    layer.set_weights([generator.normal(0, 0.3, w.shape) for w in layer.get_weights()])


def _normalise(x, layer):
    gamma, beta = layer.get_weights()
    mean, variance = x.mean(-1, keepdims=True), x.var(-1, keepdims=True)
    return (x - mean) / np.sqrt(variance + layer.epsilon) * gamma + beta


def _apply_dense(x, layer):
    kernel, bias = layer.get_weights()
    return x @ kernel + bias


def _attend_naively(x, layer):
    """Attention of one (H, W, C) map, one query pixel and one head at a time."""
    height, width, channels = x.shape
    reduced = x.reshape(-1, channels)
    if layer.reduction > 1:
        kernel, bias = layer.reduce.get_weights()
        r = layer.reduction
        reduced = np.array(
            [
                np.einsum("ijc,ijcd->d", x[i : i + r, j : j + r], kernel) + bias
                for i in range(0, height, r)
                for j in range(0, width, r)
            ]
        )
        reduced = _normalise(reduced, layer.reduce_norm)
    keys, values = _apply_dense(reduced, layer.key), _apply_dense(reduced, layer.value)
    queries = _apply_dense(x, layer.query)
    size = channels // layer.num_heads
    mixed = np.zeros_like(x)
    for row in range(height):
        for column in range(width):
            for head in range(layer.num_heads):
                part = slice(head * size, (head + 1) * size)
                scores = keys[:, part] @ queries[row, column, part] / math.sqrt(size)
                weights = np.exp(scores - scores.max())
                mixed[row, column, part] = weights @ values[:, part] / weights.sum()
    return _apply_dense(mixed, layer.project)


def _apply_block_naively(x, block):
    x = x + _attend_naively(_normalise(x, block.norm1), block.attention)
    y = _apply_dense(_normalise(x, block.norm2), block.expand)
    kernel, bias = block.depthwise.get_weights()
    padded = np.pad(y, ((1, 1), (1, 1), (0, 0)))
    mixed = np.zeros_like(y)
    for i in range(3):
        for j in range(3):
            window = padded[i : i + y.shape[0], j : j + y.shape[1]]
            mixed += window * kernel[i, j, :, 0]
    mixed += bias
    gelu = mixed * 0.5 * (1 + np.vectorize(math.erf)(mixed / math.sqrt(2)))
    return x + _apply_dense(gelu, block.contract)


@pytest.mark.parametrize("reduction, size", [(1, (3, 5)), (2, (4, 6)), (2, (2, 10)), (4, (4, 8))])
def test_block_equals_naive_numpy_at_non_square_sizes(reduction, size):
    block = MitBlock(6, 2, reduction)
    x = np.random.default_rng(1).normal(size=(2, *size, 6)).astype("float32")
    block(x)
    _randomise(block)
    result = block(x).numpy()
    for image in range(2):
        expected = _apply_block_naively(x[image].astype("float64"), block)
        np.testing.assert_allclose(result[image], expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("size", [(3, 5), (5, 9), (1, 1)])
def test_sizes_that_the_reduction_does_not_divide(size):
    layer = EfficientAttention(6, 2, reduction=4)
    x = np.random.default_rng(1).normal(size=(1, *size, 6)).astype("float32")
    layer(x)
    _randomise(layer)
    result = layer(x).numpy()
    assert result.shape == x.shape and np.isfinite(result).all()


def test_block_equals_kerascv_at_a_square_size():
    """Without a reduction; with one, KerasCV 0.9 reshapes (B, C, N) memory as (B, H, W, C)."""
    pytest.importorskip("keras_cv")
    from keras_cv.layers import HierarchicalTransformerEncoder

    reference = HierarchicalTransformerEncoder(project_dim=16, num_heads=2, sr_ratio=1)
    block = MitBlock(16, 2, 1)
    x = np.random.default_rng(1).normal(size=(2, 8, 8, 16)).astype("float32")
    block(x), reference(x.reshape(2, 64, 16))
    _randomise(block)
    attention = reference.attn
    pairs = [
        (reference.norm1, block.norm1),
        (reference.norm2, block.norm2),
        (attention.q, block.attention.query),
        (attention.k, block.attention.key),
        (attention.v, block.attention.value),
        (attention.proj, block.attention.project),
        (reference.mlp.fc1, block.expand),
        (reference.mlp.dwconv, block.depthwise),
        (reference.mlp.fc2, block.contract),
    ]
    for target, source in pairs:
        target.set_weights(source.get_weights())
    expected = reference(x.reshape(2, 64, 16)).numpy().reshape(x.shape)
    # KerasCV's gelu is the tanh approximation.
    np.testing.assert_allclose(block(x), expected, atol=3e-3)


def test_softmax_of_half_precision_runs_in_float32(precision):
    precision("mixed_float16")
    layer = EfficientAttention(4, 1)
    x = tf.ones((1, 64, 64, 4), tf.float16)
    layer(x)
    layer.set_weights([np.eye(4) if w.ndim == 2 else np.zeros(4) for w in layer.get_weights()])
    # 4,096 equal keys: their exponentials summed in float16 would lose the weights' sum of 1.
    np.testing.assert_allclose(layer(x).numpy().astype("float32"), 1, atol=5e-3)


@pytest.mark.parametrize("layer", [EfficientAttention(6, 2, 2), MitBlock(6, 2, 4, 0.1)])
def test_config_round_trip(layer):
    copy = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    assert copy.get_config() == layer.get_config()
    x = np.random.default_rng(1).normal(size=(1, 4, 6, 6)).astype("float32")
    layer(x), copy(x)
    copy.set_weights(layer.get_weights())
    np.testing.assert_array_equal(copy(x), layer(x))
