"""The head of FCN-8s: class scores of three strides, summed from coarse to fine."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from drsl_tf.networks.heads.scoring_head import ScoringHead
from drsl_tf.networks.layers.resize_like import ResizeLike
from drsl_tf.networks.layers.sublayers import build_sublayer

# Level, and the factor of its map before it is scored.
_LEVELS = (("level5", 1.0), ("level4", 0.01), ("level3", 0.0001))


@keras.saving.register_keras_serializable(package="drsl_tf")
class Fcn8sHead(ScoringHead):
    """Scores fc7, pool4 x 0.01 and pool3 x 0.0001 by 1x1 convolutions and sums the scores.

    J. Long, E. Shelhamer, T. Darrell, "Fully Convolutional Networks", CVPR 2015, in its
    all-at-once form. Coarse scores are resized bilinearly, where FCN learns a transposed
    convolution that starts as bilinear resizing.

    Args:
        num_classes: number of classes C.
        **kwargs: arguments of `keras.layers.Layer`.
    """

    scored = "level3"

    def __init__(self, num_classes: int, **kwargs: Any):
        super().__init__(num_classes, **kwargs)
        # Scores are float32 under every precision policy: a softmax follows.
        self._scores = [
            keras.layers.Conv2D(
                num_classes,
                1,
                kernel_initializer=keras.initializers.RandomNormal(stddev=0.01),
                dtype="float32",
                name=f"score_{level}",
            )
            for level, _ in _LEVELS
        ]
        self._resize = ResizeLike(dtype="float32", name="resize")

    def build(self, input_shape: dict[str, Sequence[int | None]]) -> None:
        """Builds the convolutions for the shapes of the base's outputs."""
        for score, (level, _) in zip(self._scores, _LEVELS):
            build_sublayer(score, input_shape[level])
        super().build(input_shape)

    def call(self, inputs: dict[str, tf.Tensor]) -> tf.Tensor:
        """Computes class scores.

        Args:
            inputs: outputs of a base, a dict with "level3", "level4" and "level5", the maps at
                strides 8, 16 and 32.

        Returns:
            Logits (B, h, w, C) at stride 8, float32.
        """
        total = None
        for score, (level, scale) in zip(self._scores, _LEVELS):
            scores = score(tf.cast(inputs[level], tf.float32) * scale)
            total = scores if total is None else scores + self._resize([total, scores])
        return total
