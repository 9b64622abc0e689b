"""The transformer block of MiT, on maps that keep their height and width."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from drsl_tf.networks.layers.efficient_attention import EfficientAttention
from drsl_tf.networks.layers.sublayers import build_sublayer


@keras.saving.register_keras_serializable(package="drsl_tf")
class MitBlock(keras.layers.Layer):
    """Computes x + attention(norm(x)), then x + MLP(norm(x)) with a depthwise 3x3 inside the MLP.

    E. Xie et al., "SegFormer", NeurIPS 2021 (Mix-FFN). There is no positional encoding: the
    depthwise convolution's zero padding marks the border.

    Args:
        dim: channels C.
        num_heads: heads of the attention.
        reduction: factor by which keys and values are reduced.
        drop_path_rate: share of images whose residual branches are dropped in training.
        **kwargs: arguments of `keras.layers.Layer`.
    """

    def __init__(
        self,
        dim: int,
        num_heads: int,
        reduction: int = 1,
        drop_path_rate: float = 0.0,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.dim = dim
        self.num_heads = num_heads
        self.reduction = reduction
        self.drop_path_rate = drop_path_rate
        self.norm1 = keras.layers.LayerNormalization(epsilon=1e-6, name="norm1")
        self.attention = EfficientAttention(dim, num_heads, reduction, name="attention")
        self.norm2 = keras.layers.LayerNormalization(epsilon=1e-6, name="norm2")
        self.expand = keras.layers.Dense(4 * dim, name="expand")
        self.depthwise = keras.layers.DepthwiseConv2D(3, padding="same", name="depthwise")
        self.contract = keras.layers.Dense(dim, name="contract")
        self._drop_path = None
        if drop_path_rate:
            self._drop_path = keras.layers.Dropout(
                drop_path_rate, noise_shape=(None, 1, 1, 1), name="drop_path"
            )

    def build(self, input_shape: Sequence[int | None]) -> None:
        """Builds the layers."""
        shape = tuple(input_shape)
        for layer in (self.norm1, self.attention, self.norm2):
            build_sublayer(layer, shape)
        for layer in (self.expand, self.depthwise, self.contract):
            shape = build_sublayer(layer, shape)
        super().build(input_shape)

    def call(self, inputs: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        """Applies the block.

        Args:
            inputs: (B, H, W, C) tensor.
            training: whether residual branches are dropped.

        Returns:
            (B, H, W, C) tensor.
        """
        x = inputs + self._drop(self.attention(self.norm1(inputs)), training)
        y = self.depthwise(self.expand(self.norm2(x)))
        y = self.contract(tf.nn.gelu(y, approximate=False))
        return x + self._drop(y, training)

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
            "drop_path_rate": self.drop_path_rate,
        }

    def _drop(self, x, training):
        """Drops whole residual branches in training."""
        return x if self._drop_path is None else self._drop_path(x, training=training)
