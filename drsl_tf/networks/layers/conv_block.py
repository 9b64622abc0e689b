"""A convolution with batch norm and ReLU as one layer, for heads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from drsl_tf.networks.layers.fusion import BATCH_NORM_MOMENTUM
from drsl_tf.networks.layers.sublayers import build_sublayer


@keras.saving.register_keras_serializable(package="drsl_tf")
class ConvBlock(keras.layers.Layer):
    """Applies a convolution of stride 1 without bias, batch norm and ReLU.

    Args:
        filters: output channels.
        kernel_size: size of the square kernel.
        dilation_rate: atrous rate.
        **kwargs: arguments of `keras.layers.Layer`.
    """

    def __init__(self, filters: int, kernel_size: int = 1, dilation_rate: int = 1, **kwargs: Any):
        super().__init__(**kwargs)
        self.filters = filters
        self.kernel_size = kernel_size
        self.dilation_rate = dilation_rate
        self._conv = keras.layers.Conv2D(
            filters,
            kernel_size,
            padding="same",
            dilation_rate=dilation_rate,
            use_bias=False,
            kernel_initializer="he_normal",
            name="conv",
        )
        self._norm = keras.layers.BatchNormalization(momentum=BATCH_NORM_MOMENTUM, name="norm")

    def build(self, input_shape: Sequence[int | None]) -> None:
        """Builds the convolution and the batch norm."""
        build_sublayer(self._norm, build_sublayer(self._conv, input_shape))
        super().build(input_shape)

    def call(self, inputs: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        """Applies the block.

        Args:
            inputs: (B, h, w, D) tensor.
            training: whether batch norm uses the batch's statistics.

        Returns:
            (B, h, w, filters) tensor.
        """
        x = self._norm(self._conv(inputs), training=training)
        return keras.activations.relu(x)

    def compute_output_shape(self, input_shape: Sequence[int | None]) -> tuple[int | None, ...]:
        """Returns (B, h, w, filters)."""
        return (*tuple(input_shape)[:3], self.filters)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {
            **super().get_config(),
            "filters": self.filters,
            "kernel_size": self.kernel_size,
            "dilation_rate": self.dilation_rate,
        }
