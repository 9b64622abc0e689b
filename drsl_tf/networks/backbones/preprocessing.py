"""Normalisation of images inside the networks: RGB in [0, 255] to what weights were trained on.

It runs in float32 under every precision policy: half precision would round the image before the
first convolution.
"""

from __future__ import annotations

from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
_CAFFE_MEAN_BGR = (103.939, 116.779, 123.68)
_NORMALISE = "normalise"
_REVERSE = "rgb_to_bgr"


@keras.saving.register_keras_serializable(package="drsl_tf")
class ReverseChannels(keras.layers.Layer):
    """Reverses the order of the channels: RGB to BGR."""

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """Reverses the last axis of a (B, H, W, C) tensor."""
        return tf.reverse(inputs, axis=[-1])

    def compute_output_shape(self, input_shape: Sequence[int | None]) -> tuple[int | None, ...]:
        """Returns the input's shape."""
        return tuple(input_shape)


def find_neutral_colour(base: keras.Model) -> tuple[float, ...]:
    """Finds the colour that a base's normalisation maps to 0.

    Args:
        base: a network that one of the functions of this module normalises.

    Returns:
        Red, green and blue in [0, 255]; mid-grey for a base without such a layer.
    """
    names = [layer.name for layer in base.layers]
    if _NORMALISE not in names:
        return (127.5, 127.5, 127.5)
    config = base.get_layer(_NORMALISE).get_config()
    scale, offset = (np.broadcast_to(config[key], 3) for key in ("scale", "offset"))
    colour = -offset / scale
    return tuple(float(c) for c in (colour[::-1] if _REVERSE in names else colour))


def normalise_signed(image: keras.KerasTensor) -> keras.KerasTensor:
    """Scales a symbolic image from [0, 255] to [-1, 1]."""
    layer = keras.layers.Rescaling(1 / 127.5, offset=-1.0, dtype="float32", name=_NORMALISE)
    return layer(image)


def normalise_torch(
    image: keras.KerasTensor,
    mean: Sequence[float] = IMAGENET_MEAN,
    std: Sequence[float] = IMAGENET_STD,
) -> keras.KerasTensor:
    """Computes (x / 255 - mean) / std, by default with the statistics of PyTorch's networks."""
    # keras.layers.Normalization breaks in a subclassed model on Keras 3; Rescaling does not.
    layer = keras.layers.Rescaling(
        [1 / (255 * s) for s in std],
        offset=[-m / s for m, s in zip(mean, std)],
        dtype="float32",
        name=_NORMALISE,
    )
    return layer(image)


def normalise_caffe(image: keras.KerasTensor) -> keras.KerasTensor:
    """Converts RGB to BGR and subtracts the ImageNet mean, as Caffe's networks expect."""
    bgr = ReverseChannels(dtype="float32", name=_REVERSE)(image)
    offset = [-mean for mean in _CAFFE_MEAN_BGR]
    return keras.layers.Rescaling(1.0, offset=offset, dtype="float32", name=_NORMALISE)(bgr)
