"""Dilation and padding surgery: the same function, read at other places."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from data_pipelines.errors import UserError
from drsl_tf.networks.backbones.surgery import dilate
from drsl_tf.networks.backbones.surgery import freeze_batch_norm
from drsl_tf.networks.backbones.surgery import pad_like_same


def _chain(*, explicit_padding, depthwise=False, stages=5):
    """Builds strided 3x3 convolutions, each followed by a stride-1 one, down to stride 32."""
    image = keras.Input((None, None, 3))
    x = image
    for stage in range(stages):
        padding = "same"
        if explicit_padding:
            x = keras.layers.ZeroPadding2D(((0, 1), (0, 1)))(x)
            padding = "valid"
        x = keras.layers.Conv2D(4, 3, strides=2, padding=padding, name=f"down{stage}")(x)
        layer = keras.layers.DepthwiseConv2D if depthwise else keras.layers.Conv2D
        arguments = (3,) if depthwise else (4, 3)
        x = layer(*arguments, padding="same", name=f"conv{stage}")(x)
        x = keras.layers.BatchNormalization(name=f"norm{stage}")(x)
        x = keras.layers.ReLU()(x)
    return keras.Model(image, x)


def _image(height, width):
    return np.random.default_rng(0).normal(size=(1, height, width, 3)).astype("float32")


@pytest.mark.parametrize("output_stride", [8, 16])
@pytest.mark.parametrize("depthwise", [False, True])
def test_dilated_model_subsampled_is_the_strided_model(output_stride, depthwise):
    model = _chain(explicit_padding=False, depthwise=depthwise)
    dense = dilate(model, output_stride)
    # Sizes 2^n + 1 stay odd at every level: "same" padding is symmetric, so grids align.
    image = _image(65, 97)
    step = 32 // output_stride
    strided, dense = model(image).numpy(), dense(image).numpy()
    assert dense.shape[1:3] == (64 // output_stride + 1, 96 // output_stride + 1)
    np.testing.assert_allclose(dense[:, ::step, ::step], strided, rtol=1e-4, atol=1e-6)
    assert np.abs(strided).max() > 1e-3


def test_dilation_follows_the_strides_lost():
    model = dilate(_chain(explicit_padding=False), 8)
    rates = {layer.name: layer.dilation_rate for layer in model.layers if "conv" in layer.name}
    assert rates == {
        "conv0": (1, 1),
        "conv1": (1, 1),
        "conv2": (1, 1),
        "conv3": (2, 2),
        "conv4": (4, 4),
    }
    strides = [model.get_layer(f"down{stage}").strides for stage in range(5)]
    assert strides == [(2, 2)] * 3 + [(1, 1)] * 2
    assert model.get_layer("down4").dilation_rate == (2, 2)


def test_other_output_strides_are_refused():
    with pytest.raises(UserError, match="is 4: use 8 or 16"):
        dilate(_chain(explicit_padding=False, stages=1), 4)


def test_same_padding_changes_nothing_at_even_sizes():
    model = _chain(explicit_padding=True)
    image = _image(64, 96)
    np.testing.assert_allclose(pad_like_same(model)(image), model(image), rtol=1e-5, atol=1e-7)


def test_same_padding_keeps_the_last_row_of_odd_sizes():
    model = _chain(explicit_padding=True, stages=3)
    image = _image(41, 63)
    assert model(image).shape[1:3] == (5, 7)
    assert pad_like_same(model)(image).shape[1:3] == (6, 8)


def test_frozen_batch_norm_ignores_the_batch():
    model = _chain(explicit_padding=False, stages=2)
    freeze_batch_norm(model)
    before = model.get_weights()
    image = _image(32, 32)
    np.testing.assert_array_equal(model(image, training=True), model(image, training=False))
    for old, new in zip(before, model.get_weights()):
        np.testing.assert_array_equal(old, new)
    assert len(model.trainable_variables) == 2 * 4
    copy = keras.Model.from_config(model.get_config())
    assert len(copy.trainable_variables) == 2 * 4
