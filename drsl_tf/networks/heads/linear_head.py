"""The plain segmentation head: feature map to class scores by a linear map of each pixel."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from drsl_tf.common import FEATURES
from drsl_tf.networks.heads.scoring_head import ScoringHead
from drsl_tf.networks.layers.sublayers import build_sublayer


@keras.saving.register_keras_serializable(package="drsl_tf")
class LinearHead(ScoringHead):
    """Scores every pixel of "features": an optional 3x3 convolution with ReLU, then a 1x1 one.

    Args:
        num_classes: number of classes C.
        hidden_units: channels of the 3x3 convolution before the scores; 0 for none.
        **kwargs: arguments of `keras.layers.Layer`.
    """

    def __init__(self, num_classes: int, hidden_units: int = 0, **kwargs: Any):
        super().__init__(num_classes, **kwargs)
        self.hidden_units = hidden_units
        self._hidden = None
        if hidden_units:
            self._hidden = keras.layers.Conv2D(
                hidden_units, 3, padding="same", activation="relu", name="hidden"
            )
        # Scores are float32 under every precision policy: a softmax follows.
        self._score = keras.layers.Conv2D(num_classes, 1, dtype="float32", name="score")

    def build(self, input_shape: dict[str, Sequence[int | None]]) -> None:
        """Builds the convolutions for the shapes of the base's outputs."""
        shape = tuple(input_shape[FEATURES])
        if self._hidden is not None:
            shape = build_sublayer(self._hidden, shape)
        build_sublayer(self._score, shape)
        super().build(input_shape)

    def call(self, inputs: dict[str, tf.Tensor]) -> tf.Tensor:
        """Computes class scores.

        Args:
            inputs: outputs of a base, a dict with "features" (B, h, w, D).

        Returns:
            Logits (B, h, w, C), float32.
        """
        x = inputs[FEATURES]
        if self._hidden is not None:
            x = self._hidden(x)
        return self._score(x)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {**super().get_config(), "hidden_units": self.hidden_units}
