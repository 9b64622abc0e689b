"""Every segmentation head: shapes, gradients, round trip, precision; and its own arithmetic."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from drsl_tf.common import FEATURES
from drsl_tf.networks.heads.daformer_head import DAFormerHead
from drsl_tf.networks.heads.deeplab_v2_head import DeepLabV2Head
from drsl_tf.networks.heads.deeplab_v3plus_head import DeepLabV3PlusHead
from drsl_tf.networks.heads.fcn8s_head import Fcn8sHead
from drsl_tf.networks.heads.linear_head import LinearHead
from drsl_tf.networks.heads.segformer_head import SegFormerHead
from drsl_tf.networks.layers.conv_block import ConvBlock

_CLASSES = 5
# (head, stride of its logits)
_HEADS = {
    "linear": (lambda: LinearHead(_CLASSES), 8),
    "linear_hidden": (lambda: LinearHead(_CLASSES, hidden_units=7), 8),
    "deeplab_v2": (lambda: DeepLabV2Head(_CLASSES), 8),
    "deeplab_v3plus": (
        lambda: DeepLabV3PlusHead(_CLASSES, rates=(2, 4), filters=8, low_level_filters=4),
        4,
    ),
    "fcn8s": (lambda: Fcn8sHead(_CLASSES), 8),
    "daformer": (lambda: DAFormerHead(_CLASSES, filters=8, rates=(1, 2)), 4),
    "segformer": (lambda: SegFormerHead(_CLASSES, filters=8), 4),
    "segformer_dropout": (lambda: SegFormerHead(_CLASSES, filters=8, dropout=0.5), 4),
}
every_head = pytest.mark.parametrize("name", list(_HEADS))


def _base_outputs(height=65, width=97, *, batch=2, dtype="float32"):
    generator = np.random.default_rng(0)
    strides = {FEATURES: 8, "level2": 4, "level3": 8, "level4": 16, "level5": 32}
    return {
        key: tf.cast(generator.normal(size=(batch, -(-height // s), -(-width // s), 6 + s)), dtype)
        for key, s in strides.items()
    }


@every_head
@pytest.mark.parametrize("size", [(64, 96), (65, 97), (7, 40)])
def test_shapes(name, size):
    build, stride = _HEADS[name]
    inputs = _base_outputs(*size)
    head = build()
    logits = head(inputs, training=True)
    expected = (2, -(-size[0] // stride), -(-size[1] // stride), _CLASSES)
    assert tuple(logits.shape) == expected and logits.dtype == tf.float32
    shapes = {key: tuple(value.shape) for key, value in inputs.items()}
    assert tuple(head.compute_output_shape(shapes)) == expected
    assert np.isfinite(logits.numpy()).all()


@every_head
def test_every_weight_has_a_gradient_and_a_name(name):
    head = _HEADS[name][0]()
    inputs = _base_outputs()
    head(inputs)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(head(inputs, training=True) ** 2)
    for gradient in tape.gradient(loss, head.trainable_variables):
        assert gradient is not None and np.abs(gradient).max() > 0
    names = [getattr(weight, "path", weight.name) for weight in head.weights]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("name", ["deeplab_v3plus", "daformer", "segformer"])
def test_running_statistics_follow_within_tens_of_steps(name):
    head = _HEADS[name][0]()
    head(_base_outputs())
    norms = [
        layer
        for layer in head._flatten_layers()
        if isinstance(layer, keras.layers.BatchNormalization)
    ]
    assert {layer.momentum for layer in norms} == {0.95}


@every_head
def test_config_round_trip(name):
    head = _HEADS[name][0]()
    inputs = _base_outputs()
    expected = head(inputs)
    copy = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(head))
    assert copy.get_config() == head.get_config()
    copy(inputs)
    copy.set_weights(head.get_weights())
    np.testing.assert_array_equal(copy(inputs), expected)


@every_head
@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_logits_stay_float32_in_mixed_precision(precision, name, policy):
    exact = _HEADS[name][0]()
    inputs = _base_outputs()
    expected = exact(inputs).numpy()
    precision(policy)
    head = _HEADS[name][0]()
    half = {key: tf.cast(value, policy[len("mixed_") :]) for key, value in inputs.items()}
    head(half)
    head.set_weights(exact.get_weights())
    logits = head(half)
    assert logits.dtype == tf.float32
    assert all(tf.as_dtype(weight.dtype) == tf.float32 for weight in head.weights)
    np.testing.assert_allclose(logits, expected, atol=0.03 * np.abs(expected).max())


@every_head
def test_unknown_sizes_in_a_functional_model(name):
    inputs = _base_outputs()
    symbolic = {
        key: keras.Input((None, None, value.shape[-1]), name=key) for key, value in inputs.items()
    }
    head = _HEADS[name][0]()
    model = keras.Model(symbolic, head(symbolic))
    np.testing.assert_allclose(model(inputs), head(inputs), rtol=1e-5, atol=1e-5)


def test_deeplab_v2_equals_a_naive_sum_of_atrous_convolutions():
    head = DeepLabV2Head(3, rates=(1, 2))
    x = np.random.default_rng(0).normal(size=(1, 5, 6, 4)).astype("float32")
    head({FEATURES: tf.constant(x)})
    generator = np.random.default_rng(1)
    head.set_weights([generator.normal(size=w.shape) for w in head.get_weights()])
    logits = head({FEATURES: tf.constant(x)}).numpy()
    weights = head.get_weights()
    expected = np.zeros((5, 6, 3))
    for rate, kernel, bias in zip((1, 2), weights[::2], weights[1::2]):
        for row in range(5):
            for column in range(6):
                expected[row, column] += bias
                for i in range(3):
                    for j in range(3):
                        y, z = row + (i - 1) * rate, column + (j - 1) * rate
                        if 0 <= y < 5 and 0 <= z < 6:
                            expected[row, column] += x[0, y, z] @ kernel[i, j]
    np.testing.assert_allclose(logits[0], expected, rtol=1e-4, atol=1e-4)


def test_deeplab_v2_starts_near_zero():
    head = DeepLabV2Head(19)
    head.build({FEATURES: (None, None, None, 64)})
    assert head.rates == (6, 12, 18, 24)
    kernels, biases = head.get_weights()[::2], head.get_weights()[1::2]
    assert len(kernels) == 4
    for kernel, bias in zip(kernels, biases):
        assert kernel.shape == (3, 3, 64, 19) and abs(kernel.std() - 0.01) < 5e-4
        assert not bias.any()


def test_fcn8s_sums_scaled_scores():
    """On constant maps, resizing changes nothing and the sum is a formula."""
    head = Fcn8sHead(3)
    inputs = {
        level: tf.fill((1, size, size, 4), value)
        for level, size, value in (("level3", 8, 2.0), ("level4", 4, 3.0), ("level5", 2, 5.0))
    }
    head(inputs)
    head.set_weights([np.ones(w.shape) * (1 + i) for i, w in enumerate(head.get_weights())])
    # Kernels 1, 3, 5 and biases 2, 4, 6, for level5, level4, level3, of 4 channels.
    value = (4 * 5 * 1 + 2) + (4 * 0.01 * 3 * 3 + 4) + (4 * 0.0001 * 2 * 5 + 6)
    np.testing.assert_allclose(head(inputs), np.full((1, 8, 8, 3), value), rtol=1e-6)


def test_fcn8s_keeps_small_maps_in_float16(precision):
    """pool3 x 0.0001 lies below float16's normal numbers; the product is taken in float32."""
    precision("mixed_float16")
    head = Fcn8sHead(1)
    inputs = {
        "level3": tf.fill((1, 8, 8, 1), tf.constant(1e-3, tf.float16)),
        "level4": tf.zeros((1, 4, 4, 1), tf.float16),
        "level5": tf.zeros((1, 2, 2, 1), tf.float16),
    }
    head(inputs)
    head.set_weights([np.ones(w.shape) if len(w.shape) == 4 else w for w in head.get_weights()])
    np.testing.assert_allclose(head(inputs), np.full((1, 8, 8, 1), 1e-7), rtol=1e-2)


def test_deeplab_v3plus_pools_the_whole_image():
    """A far pixel reaches every logit only by the image pooling."""
    head = DeepLabV3PlusHead(3, rates=(1,), filters=8, low_level_filters=4)
    inputs = _base_outputs(160, 160, batch=1)
    first = head(inputs).numpy()
    changed = dict(inputs)
    changed[FEATURES] = tf.concat([inputs[FEATURES][:, :1] + 10.0, inputs[FEATURES][:, 1:]], axis=1)
    assert np.abs(head(changed).numpy() - first)[0, -1].max() > 0


def test_segformer_on_constant_maps_is_a_per_pixel_mlp():
    head = SegFormerHead(3, filters=4)
    inputs = {f"level{n}": tf.fill((1, 64 >> n, 64 >> n, 2), float(n)) for n in (2, 3, 4, 5)}
    head(inputs)
    generator = np.random.default_rng(0)
    head.set_weights([generator.uniform(0.1, 1, w.shape) for w in head.get_weights()])
    named = {
        getattr(w, "path", w.name).split(":")[0].split("/", 1)[1]: np.asarray(w)
        for w in head.weights
    }
    maps = [
        np.full(2, float(n)) @ named[f"level{n}/kernel"] + named[f"level{n}/bias"]
        for n in (5, 4, 3, 2)
    ]
    x = np.concatenate(maps) @ named["fuse/conv/kernel"][0, 0]
    x = (x - named["fuse/norm/moving_mean"]) / np.sqrt(named["fuse/norm/moving_variance"] + 1e-3)
    x = np.maximum(x * named["fuse/norm/gamma"] + named["fuse/norm/beta"], 0)
    x = x @ named["score/kernel"][0, 0] + named["score/bias"]
    np.testing.assert_allclose(head(inputs), np.broadcast_to(x, (1, 16, 16, 3)), rtol=1e-4)


def test_conv_block_round_trip_and_training_statistics():
    block = ConvBlock(4, 3, dilation_rate=2)
    x = _base_outputs()["level3"]
    trained = block(x, training=True).numpy()
    assert (trained >= 0).all() and tuple(trained.shape) == (*x.shape[:3], 4)
    assert np.abs(trained - block(x, training=False).numpy()).max() > 0.01
    copy = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(block))
    assert copy.get_config() == block.get_config()
