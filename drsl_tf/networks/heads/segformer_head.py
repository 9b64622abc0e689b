"""The head of SegFormer: an all-MLP decoder over four levels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from drsl_tf.networks.heads.scoring_head import ScoringHead
from drsl_tf.networks.layers.conv_block import ConvBlock
from drsl_tf.networks.layers.fusion import LEVELS
from drsl_tf.networks.layers.fusion import build_projections
from drsl_tf.networks.layers.fusion import project_levels
from drsl_tf.networks.layers.resize_like import ResizeLike
from drsl_tf.networks.layers.sublayers import build_sublayer


@keras.saving.register_keras_serializable(package="drsl_tf")
class SegFormerHead(ScoringHead):
    """Projects four levels to one width, concatenates them at stride 4 and scores each pixel.

    E. Xie et al., "SegFormer", NeurIPS 2021. Its widths are 256 for MiT-B0 and B1, 768 for the
    larger ones.

    Args:
        num_classes: number of classes C.
        filters: width of the decoder.
        dropout: rate before the scores; SegFormer uses 0.1. Above 0, a resumed run is not
            bit-equal on Keras 2.
        **kwargs: arguments of `keras.layers.Layer`.
    """

    scored = LEVELS[0]

    def __init__(self, num_classes: int, filters: int = 256, dropout: float = 0.0, **kwargs: Any):
        super().__init__(num_classes, **kwargs)
        self.filters = filters
        self.dropout = dropout
        self._projections = [keras.layers.Dense(filters, name=level) for level in LEVELS]
        self._resize = ResizeLike(name="resize")
        self._fuse = ConvBlock(filters, 1, name="fuse")
        self._dropout = keras.layers.Dropout(dropout, name="dropout") if dropout else None
        # Scores are float32 under every precision policy: a softmax follows.
        self._score = keras.layers.Conv2D(num_classes, 1, dtype="float32", name="score")

    def build(self, input_shape: dict[str, Sequence[int | None]]) -> None:
        """Builds the layers for the shapes of the base's outputs."""
        build_projections(self._projections, input_shape)
        shape = tuple(input_shape[LEVELS[0]])[:3]
        build_sublayer(self._fuse, (*shape, len(LEVELS) * self.filters))
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
        maps = project_levels(self._projections, self._resize, inputs)
        # The published code concatenates from coarse to fine; converted weights keep the order.
        x = self._fuse(tf.concat(maps[::-1], axis=-1), training=training)
        if self._dropout is not None:
            x = self._dropout(x, training=training)
        return self._score(x)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {
            **super().get_config(),
            "filters": self.filters,
            "dropout": self.dropout,
        }
