"""The head of DAFormer: four levels, joined by a depthwise-separable atrous pyramid."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from drsl_tf.networks.heads.scoring_head import ScoringHead
from drsl_tf.networks.layers.conv_block import ConvBlock
from drsl_tf.networks.layers.fusion import BATCH_NORM_MOMENTUM
from drsl_tf.networks.layers.fusion import LEVELS
from drsl_tf.networks.layers.fusion import build_projections
from drsl_tf.networks.layers.fusion import project_levels
from drsl_tf.networks.layers.resize_like import ResizeLike
from drsl_tf.networks.layers.sublayers import build_sublayer


@keras.saving.register_keras_serializable(package="drsl_tf")
class DAFormerHead(ScoringHead):
    """Embeds four levels, concatenates them at stride 4 and scores classes after an atrous pyramid.

    L. Hoyer et al., "DAFormer", CVPR 2022: depthwise-separable convolutions, no image pooling.

    Args:
        num_classes: number of classes C.
        filters: width of the embeddings and of the pyramid.
        rates: atrous rates of its 3x3 convolutions, beside a 1x1 convolution.
        dropout: rate before the scores; DAFormer uses 0.1. Above 0, a resumed run is not bit-equal
            on Keras 2.
        **kwargs: arguments of `keras.layers.Layer`.
    """

    scored = LEVELS[0]

    def __init__(
        self,
        num_classes: int,
        filters: int = 256,
        rates: Sequence[int] = (6, 12, 18),
        dropout: float = 0.0,
        **kwargs: Any,
    ):
        super().__init__(num_classes, **kwargs)
        self.filters = filters
        self.rates = tuple(rates)
        self.dropout = dropout
        self._embeddings = [keras.layers.Dense(filters, name=level) for level in LEVELS]
        self._resize = ResizeLike(name="resize")
        self._point = ConvBlock(filters, 1, name="point")
        self._depthwise = [
            keras.layers.DepthwiseConv2D(
                3, padding="same", dilation_rate=rate, use_bias=False, name=f"depthwise{rate}"
            )
            for rate in self.rates
        ]
        self._norms = [
            keras.layers.BatchNormalization(momentum=BATCH_NORM_MOMENTUM, name=f"norm{rate}")
            for rate in self.rates
        ]
        self._pointwise = [ConvBlock(filters, 1, name=f"pointwise{rate}") for rate in self.rates]
        self._fuse = ConvBlock(filters, 3, name="fuse")
        self._dropout = keras.layers.Dropout(dropout, name="dropout") if dropout else None
        # Scores are float32 under every precision policy: a softmax follows.
        self._score = keras.layers.Conv2D(num_classes, 1, dtype="float32", name="score")

    def build(self, input_shape: dict[str, Sequence[int | None]]) -> None:
        """Builds the layers for the shapes of the base's outputs."""
        build_projections(self._embeddings, input_shape)
        shape = tuple(input_shape[LEVELS[0]])[:3]
        wide = (*shape, len(LEVELS) * self.filters)
        for layer in (self._point, *self._depthwise, *self._norms, *self._pointwise):
            build_sublayer(layer, wide)
        build_sublayer(self._fuse, (*shape, (1 + len(self.rates)) * self.filters))
        build_sublayer(self._score, (*shape, self.filters))
        super().build(input_shape)

    def call(self, inputs: dict[str, tf.Tensor], training: bool | None = None) -> tf.Tensor:
        """Computes class scores.

        Args:
            inputs: outputs of a base, a dict with "level2" ... "level5", maps at strides 4 to 32.
            training: whether batch norm and dropout run in training mode.

        Returns:
            Logits (B, h, w, C) at stride 4, float32.
        """
        maps = project_levels(self._embeddings, self._resize, inputs)
        x = tf.concat(maps, axis=-1)
        branches = [self._point(x, training=training)]
        for depthwise, norm, pointwise in zip(self._depthwise, self._norms, self._pointwise):
            y = tf.nn.relu(norm(depthwise(x), training=training))
            branches.append(pointwise(y, training=training))
        x = self._fuse(tf.concat(branches, axis=-1), training=training)
        if self._dropout is not None:
            x = self._dropout(x, training=training)
        return self._score(x)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {
            **super().get_config(),
            "filters": self.filters,
            "rates": self.rates,
            "dropout": self.dropout,
        }
