"""Builds the layers inside a layer, with unique variable names."""

from __future__ import annotations

from collections.abc import Sequence

import keras
import tensorflow as tf


def build_sublayer(layer: keras.layers.Layer, input_shape: Sequence[int | None]) -> tuple:
    """Builds a layer inside another one's `build`.

    Keras 2 names variables after the enclosing name scope only; the scope opened here gives each
    kernel of a composite layer a unique name.

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
