"""Learning rates over the stages of a run; optimizers themselves come from Keras or Addons."""

from __future__ import annotations

from typing import Optional

import keras
import tensorflow as tf

from data_pipelines.errors import UserError


@keras.saving.register_keras_serializable(package="drsl_tf")
class StageSchedule(keras.optimizers.schedules.LearningRateSchedule):
    """Learning rate that decays over the source stage and, again, over each round.

    Within a stage of n steps, step t has the rate r * (1 - t / n) ** power, the "poly" schedule
    of DeepLab; power 0 keeps it constant. In the source stage it rises linearly over the first
    `warmup_steps`.

    Args:
        source_rate: rate r of the source stage.
        source_steps: steps of the source stage.
        adaptation_rate: rate r of the rounds.
        steps_per_round: steps of a round, for the decay; None keeps the rounds' rate constant.
        power: exponent of the decay.
        warmup_steps: steps of the rise from 0.
    """

    def __init__(
        self,
        *,
        source_rate: float,
        source_steps: int,
        adaptation_rate: float,
        steps_per_round: Optional[int] = None,
        power: float = 0.9,
        warmup_steps: int = 0,
    ):
        for name, rate in (("source_rate", source_rate), ("adaptation_rate", adaptation_rate)):
            if rate <= 0:
                raise UserError(f"StageSchedule.{name} is {rate}; it must be above 0.")
        self._config = {
            "source_rate": source_rate,
            "source_steps": source_steps,
            "adaptation_rate": adaptation_rate,
            "steps_per_round": steps_per_round,
            "power": power,
            "warmup_steps": warmup_steps,
        }

    def __call__(self, step):
        """Gives the rate of a step.

        Args:
            step: steps done since the start of the run, any integer or float type.

        Returns:
            float32 scalar.
        """
        config = self._config
        step = tf.cast(step, tf.float32)
        source_steps = float(config["source_steps"])
        source = config["source_rate"] * self._decay(step, source_steps)
        if config["warmup_steps"]:
            source *= tf.minimum(1.0, (step + 1.0) / config["warmup_steps"])
        adaptation = tf.constant(config["adaptation_rate"], tf.float32)
        if config["steps_per_round"]:
            length = float(config["steps_per_round"])
            # floormod of step - source_steps is not negative where it counts.
            within = tf.math.floormod(step - source_steps, length)
            adaptation *= self._decay(within, length)
        return tf.where(step < source_steps, source, adaptation)

    def _decay(self, step, length):
        left = 1.0 - tf.clip_by_value(step / max(length, 1.0), 0.0, 1.0)
        return tf.pow(left, self._config["power"])

    def get_config(self):
        """Gives the arguments."""
        return dict(self._config)
