"""Building of the layers inside a layer, with names that tell their variables apart."""

from __future__ import annotations

from collections.abc import Sequence

import keras
import tensorflow as tf


def build_sublayer(layer: keras.layers.Layer, input_shape: Sequence[int | None]) -> tuple:
    """Builds a layer inside another one's `build`.

    Keras 2 names variables after the enclosing name scope alone; the scope opened here gives
    every kernel of a composite layer a name of its own.

    Args:
        layer: layer to build.
        input_shape: shape of its input, None where unknown.

    Returns:
        Shape of the layer's output.
    """
    shape = tuple(input_shape)
    with tf.name_scope(layer.name):
        layer.build(shape)
    return tuple(layer.compute_output_shape(shape))
