"""Self-attention over a map whose keys and values are reduced by a strided convolution."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from drsl_tf.networks.layers.sublayers import build_sublayer


@keras.saving.register_keras_serializable(package="drsl_tf")
class EfficientAttention(keras.layers.Layer):
    """Applies multi-head attention of all pixels to a map of reduced height and width.

    E. Xie et al., "SegFormer", NeurIPS 2021. The input stays a map, so that the reduction works
    at any aspect ratio. Sizes that the factor does not divide are zero-padded.

    Args:
        dim: channels C of input and output, a multiple of num_heads.
        num_heads: number of heads.
        reduction: factor by which keys and values are reduced; 1 for none.
        **kwargs: arguments of `keras.layers.Layer`.
    """

    def __init__(self, dim: int, num_heads: int, reduction: int = 1, **kwargs: Any):
        super().__init__(**kwargs)
        self.dim = dim
        self.num_heads = num_heads
        self.reduction = reduction
        self.query = keras.layers.Dense(dim, name="query")
        self.key = keras.layers.Dense(dim, name="key")
        self.value = keras.layers.Dense(dim, name="value")
        self.project = keras.layers.Dense(dim, name="project")
        self.reduce = None
        self.reduce_norm = None
        if reduction > 1:
            self.reduce = keras.layers.Conv2D(
                dim, reduction, strides=reduction, padding="same", name="reduce"
            )
            self.reduce_norm = keras.layers.LayerNormalization(epsilon=1e-5, name="reduce_norm")

    def build(self, input_shape: Sequence[int | None]) -> None:
        """Builds the projections."""
        for layer in (self.query, self.key, self.value, self.project):
            build_sublayer(layer, input_shape)
        if self.reduce is not None:
            build_sublayer(self.reduce_norm, build_sublayer(self.reduce, input_shape))
        super().build(input_shape)

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """Computes the attention.

        Args:
            inputs: (B, H, W, C) tensor.

        Returns:
            (B, H, W, C) tensor.
        """
        reduced = inputs
        if self.reduce is not None and self.reduce_norm is not None:
            reduced = self.reduce_norm(self.reduce(inputs))
        query = self._split_heads(self.query(inputs))
        key = self._split_heads(self.key(reduced))
        value = self._split_heads(self.value(reduced))
        scale = (self.dim // self.num_heads) ** -0.5
        scores = tf.matmul(query * scale, key, transpose_b=True)
        # Half precision cannot sum a softmax over hundreds of keys.
        weights = tf.cast(tf.nn.softmax(tf.cast(scores, tf.float32)), scores.dtype)
        mixed = tf.transpose(tf.matmul(weights, value), (0, 2, 1, 3))
        return self.project(tf.reshape(mixed, tf.shape(inputs)))

    def compute_output_shape(self, input_shape: Sequence[int | None]) -> tuple[int | None, ...]:
        """Returns the input's shape."""
        return tuple(input_shape)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {
            **super().get_config(),
            "dim": self.dim,
            "num_heads": self.num_heads,
            "reduction": self.reduction,
        }

    def _split_heads(self, x):
        """Reshapes a map (B, h, w, C) to (B, heads, h * w, C / heads)."""
        # Not shape[0] in the place of -1: ONNX Runtime would refuse what it converts to.
        shape = tf.shape(x)
        x = tf.reshape(x, (-1, shape[1] * shape[2], self.num_heads, self.dim // self.num_heads))
        return tf.transpose(x, (0, 2, 1, 3))
