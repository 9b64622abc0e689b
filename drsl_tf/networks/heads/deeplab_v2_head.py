"""The head of DeepLab-v2: class scores at several atrous rates, summed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from drsl_tf.common import FEATURES
from drsl_tf.networks.heads.scoring_head import ScoringHead
from drsl_tf.networks.layers.sublayers import build_sublayer


@keras.saving.register_keras_serializable(package="drsl_tf")
class DeepLabV2Head(ScoringHead):
    """Sums the class scores of 3x3 atrous convolutions with biases, initialised N(0, 0.01^2).

    L.-C. Chen et al., "DeepLab: Semantic Image Segmentation with ... Atrous Convolution", PAMI
    2018, in the form that domain adaptation uses on ResNet-101 at stride 8.

    Args:
        num_classes: number of classes C.
        rates: atrous rates, one convolution each.
        **kwargs: arguments of `keras.layers.Layer`.
    """

    def __init__(self, num_classes: int, rates: Sequence[int] = (6, 12, 18, 24), **kwargs: Any):
        super().__init__(num_classes, **kwargs)
        self.rates = tuple(rates)
        self._branches = [
            keras.layers.Conv2D(
                num_classes,
                3,
                padding="same",
                dilation_rate=rate,
                kernel_initializer=keras.initializers.RandomNormal(stddev=0.01),
                dtype="float32",
                name=f"rate{rate}",
            )
            for rate in self.rates
        ]

    def build(self, input_shape: dict[str, Sequence[int | None]]) -> None:
        """Builds the convolutions for the shapes of the base's outputs."""
        for branch in self._branches:
            build_sublayer(branch, input_shape[FEATURES])
        super().build(input_shape)

    def call(self, inputs: dict[str, tf.Tensor]) -> tf.Tensor:
        """Computes class scores.

        Args:
            inputs: outputs of a base, a dict with "features" (B, h, w, D).

        Returns:
            Logits (B, h, w, C), float32.
        """
        # Cast once, not in every branch. Scores are float32 under every precision policy.
        x = tf.cast(inputs[FEATURES], tf.float32)
        return tf.add_n([branch(x) for branch in self._branches])

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {**super().get_config(), "rates": list(self.rates)}
