"""A learning rate schedule multiplied by a factor."""

from __future__ import annotations

import keras


@keras.saving.register_keras_serializable(package="drsl_tf")
class ScaledSchedule(keras.optimizers.schedules.LearningRateSchedule):
    """Multiplies another schedule by a factor.

    Args:
        schedule: the schedule.
        factor: factor of its rates.
    """

    def __init__(self, schedule, factor: float):
        self._schedule = schedule
        self._factor = factor

    def __call__(self, step):
        """Returns the rate of a step, a float32 scalar."""
        return self._schedule(step) * self._factor

    def get_config(self):
        """Returns the constructor's arguments."""
        return {
            "schedule": keras.saving.serialize_keras_object(self._schedule),
            "factor": self._factor,
        }

    @classmethod
    def from_config(cls, config):
        """Rebuilds a schedule from `get_config`'s dict."""
        schedule = keras.saving.deserialize_keras_object(config["schedule"])
        return cls(schedule, config["factor"])
