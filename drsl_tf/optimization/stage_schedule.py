"""Learning rate schedule over the stages of a run."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from data_pipelines.errors import UserError
from data_pipelines.errors import check_integer


@keras.saving.register_keras_serializable(package="drsl_tf")
class StageSchedule(keras.optimizers.schedules.LearningRateSchedule):
    """Learning rate that decays over the source stage and, again, over each round.

    Within a stage of n steps, step t has the rate r * (1 - t / n) ** power, the "poly" schedule
    of DeepLab; power 0 keeps it constant. The source stage can also drop its rate at intervals, and
    the first steps of the run, in any stage, can warm up linearly.

    Args:
        source_rate: rate r of the source stage.
        source_steps: steps of the source stage.
        adaptation_rate: rate r of the rounds.
        steps_per_round: steps of a round, for the decay; None keeps the rounds' rate constant.
        power: exponent of the decay.
        warmup_steps: steps of the linear warm-up from 0.
        drop_every: interval in steps at which the source stage's rate is multiplied by
            `drop_factor`; None never drops it.
        drop_factor: see `drop_every`.
    """

    def __init__(
        self,
        *,
        source_rate: float,
        source_steps: int,
        adaptation_rate: float,
        steps_per_round: int | None = None,
        power: float = 0.9,
        warmup_steps: int = 0,
        drop_every: int | None = None,
        drop_factor: float = 0.1,
    ):
        for name, value in (
            ("source_rate", source_rate),
            ("adaptation_rate", adaptation_rate),
            ("drop_factor", drop_factor),
        ):
            if value <= 0:
                raise UserError(f"StageSchedule.{name} is {value}; it must be above 0.")
        if power < 0:
            raise UserError(f"StageSchedule.power is {power}; it must be at least 0.")
        check_integer("StageSchedule.warmup_steps", warmup_steps, least=0)
        if steps_per_round is not None:
            check_integer("StageSchedule.steps_per_round", steps_per_round, least=0)
        if drop_every is not None:
            check_integer("StageSchedule.drop_every", drop_every, least=1)
        self._config: dict[str, Any] = {
            "source_rate": source_rate,
            "source_steps": source_steps,
            "adaptation_rate": adaptation_rate,
            "steps_per_round": steps_per_round,
            "power": power,
            "warmup_steps": warmup_steps,
            "drop_every": drop_every,
            "drop_factor": drop_factor,
        }

    def __call__(self, step: int | tf.Tensor) -> tf.Tensor:
        """Returns the rate of a step.

        Args:
            step: steps done since the start of the run, any integer or float type.

        Returns:
            float32 scalar.
        """
        config = self._config
        step = tf.cast(step, tf.float32)
        source_steps = float(config["source_steps"])
        source = config["source_rate"] * self._decay(step, source_steps)
        if config["drop_every"]:
            drops = tf.floor(step / float(config["drop_every"]))
            source *= tf.pow(float(config["drop_factor"]), drops)
        adaptation = tf.constant(config["adaptation_rate"], tf.float32)
        if config["steps_per_round"]:
            length = float(config["steps_per_round"])
            # floormod of step - source_steps is not negative where it counts.
            within = tf.math.floormod(step - source_steps, length)
            adaptation *= self._decay(within, length)
        rate = tf.where(step < source_steps, source, adaptation)
        if config["warmup_steps"]:
            rate *= tf.minimum(1.0, (step + 1.0) / config["warmup_steps"])
        return rate

    def _decay(self, step, length):
        left = 1.0 - tf.clip_by_value(step / max(length, 1.0), 0.0, 1.0)
        return tf.pow(left, self._config["power"])

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return dict(self._config)
