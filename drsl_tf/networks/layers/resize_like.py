"""A layer that resizes one feature map to the height and width of another."""

from __future__ import annotations

from collections.abc import Sequence

import keras
import tensorflow as tf


@keras.saving.register_keras_serializable(package="drsl_tf")
class ResizeLike(keras.layers.Layer):
    """Resizes a map bilinearly (half-pixel centres) to the size of a reference map.

    The size is read from the reference at run time, so that any height and width works. The result
    keeps the dtype of the layer's policy.
    """

    def call(self, inputs: Sequence[tf.Tensor]) -> tf.Tensor:
        """Resizes the map.

        Args:
            inputs: pair (map (B, h, w, D), reference (B, H, W, any)), floating.

        Returns:
            (B, H, W, D) tensor of the map's dtype.
        """
        features, reference = inputs
        resized = tf.image.resize(features, tf.shape(reference)[1:3], method="bilinear")
        return tf.cast(resized, features.dtype)

    def compute_output_shape(
        self, input_shape: Sequence[Sequence[int | None]]
    ) -> tuple[int | None, ...]:
        """Returns (B, H, W, D) for the shapes of the pair."""
        features, reference = (tuple(shape) for shape in input_shape)
        return (features[0], reference[1], reference[2], features[3])
