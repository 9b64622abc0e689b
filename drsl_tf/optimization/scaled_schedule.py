"""A learning rate schedule multiplied by a factor."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf


@keras.saving.register_keras_serializable(package="drsl_tf")
class ScaledSchedule(keras.optimizers.schedules.LearningRateSchedule):
    """Multiplies another schedule by a factor.

    Args:
        schedule: the schedule.
        factor: factor of its rates.
    """

    def __init__(self, schedule: keras.optimizers.schedules.LearningRateSchedule, factor: float):
        self._schedule = schedule
        self._factor = factor

    def __call__(self, step: int | tf.Tensor) -> tf.Tensor:
        """Returns the rate of a step, a float32 scalar."""
        return self._schedule(step) * self._factor

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {
            "schedule": keras.saving.serialize_keras_object(self._schedule),
            "factor": self._factor,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> ScaledSchedule:
        """Rebuilds a schedule from `get_config`'s dict."""
        # Called by Keras while it loads a model, under its safe mode.
        schedule = keras.saving.deserialize_keras_object(config["schedule"])  # noqa: TID251
        return cls(schedule, config["factor"])
