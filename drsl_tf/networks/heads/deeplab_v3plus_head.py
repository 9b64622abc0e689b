"""The head of DeepLab-v3+: atrous pyramid, image pooling and a decoder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from drsl_tf.common import FEATURES
from drsl_tf.networks.heads.scoring_head import ScoringHead
from drsl_tf.networks.layers.conv_block import ConvBlock
from drsl_tf.networks.layers.resize_like import ResizeLike
from drsl_tf.networks.layers.sublayers import build_sublayer


@keras.saving.register_keras_serializable(package="drsl_tf")
class DeepLabV3PlusHead(ScoringHead):
    """Scores classes at stride 4 from deep features and a low-level map.

    L.-C. Chen et al., "Encoder-Decoder with Atrous Separable Convolution", ECCV 2018, with plain
    3x3 convolutions. The convolution of the pooled image has a bias in place of batch norm: in
    a batch of one image, the batch statistics of a single pixel would erase it.

    Args:
        num_classes: number of classes C.
        rates: atrous rates; (6, 12, 18) suit stride 16, (12, 24, 36) stride 8.
        filters: channels of the pyramid and of the decoder.
        low_level_filters: channels that the low-level map is reduced to.
        **kwargs: arguments of `keras.layers.Layer`.
    """

    scored = "level2"

    def __init__(
        self,
        num_classes: int,
        rates: Sequence[int] = (6, 12, 18),
        filters: int = 256,
        low_level_filters: int = 48,
        **kwargs: Any,
    ):
        super().__init__(num_classes, **kwargs)
        self.rates = tuple(rates)
        self.filters = filters
        self.low_level_filters = low_level_filters
        self._branches = [
            ConvBlock(filters, 1, name="point"),
            *(ConvBlock(filters, 3, dilation_rate=rate, name=f"rate{rate}") for rate in self.rates),
        ]
        self._pooling = keras.layers.Conv2D(filters, 1, activation="relu", name="pooling")
        self._project = ConvBlock(filters, 1, name="project")
        self._resize = ResizeLike(name="resize")
        self._low_level = ConvBlock(low_level_filters, 1, name="low_level")
        self._decoder = [ConvBlock(filters, 3, name=f"decoder{index}") for index in range(2)]
        # Scores are float32 under every precision policy: a softmax follows.
        self._score = keras.layers.Conv2D(num_classes, 1, dtype="float32", name="score")

    def build(self, input_shape: dict[str, Sequence[int | None]]) -> None:
        """Builds the layers for the shapes of the base's outputs."""
        shape = tuple(input_shape[FEATURES])
        for branch in self._branches:
            build_sublayer(branch, shape)
        build_sublayer(self._pooling, shape)
        pyramid = self.filters * (len(self._branches) + 1)
        build_sublayer(self._project, (*shape[:3], pyramid))
        fine = build_sublayer(self._low_level, input_shape["level2"])
        shape = (*fine[:3], self.low_level_filters + self.filters)
        for block in self._decoder:
            shape = build_sublayer(block, shape)
        build_sublayer(self._score, shape)
        super().build(input_shape)

    def call(self, inputs: dict[str, tf.Tensor], training: bool | None = None) -> tf.Tensor:
        """Computes class scores.

        Args:
            inputs: outputs of a base, a dict with "features" (B, h, w, D) and "level2"
                (B, h2, w2, D2) at stride 4.
            training: whether batch norm uses the batch's statistics.

        Returns:
            Logits (B, h2, w2, C), float32.
        """
        x = inputs[FEATURES]
        pyramid = [branch(x, training=training) for branch in self._branches]
        pooled = self._pooling(tf.reduce_mean(x, axis=[1, 2], keepdims=True))
        pyramid.append(tf.broadcast_to(pooled, tf.shape(pyramid[0])))
        x = self._project(tf.concat(pyramid, axis=-1), training=training)
        low_level = self._low_level(inputs["level2"], training=training)
        x = tf.concat([low_level, self._resize([x, low_level])], axis=-1)
        for block in self._decoder:
            x = block(x, training=training)
        return self._score(x)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {
            **super().get_config(),
            "rates": list(self.rates),
            "filters": self.filters,
            "low_level_filters": self.low_level_filters,
        }
