"""The base class of segmentation heads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from drsl_tf.common import FEATURES


class ScoringHead(keras.layers.Layer):
    """Scores classes from the outputs of a base; subclasses create the layers.

    Args:
        num_classes: number of classes C.
        **kwargs: arguments of `keras.layers.Layer`.
    """

    scored = FEATURES
    """The output of the base whose height and width the scores have."""

    def __init__(self, num_classes: int, **kwargs: Any):
        super().__init__(**kwargs)
        self.num_classes = num_classes

    def compute_output_shape(
        self, input_shape: dict[str, Sequence[int | None]]
    ) -> tuple[int | None, ...]:
        """Returns (B, h, w, C) for the shapes of the base's outputs."""
        return (*tuple(input_shape[self.scored])[:3], self.num_classes)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {**super().get_config(), "num_classes": self.num_classes}
