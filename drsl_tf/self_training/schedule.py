"""The number of training steps of an experiment."""

from __future__ import annotations

import math

from data_pipelines.errors import UserError


def count_all_steps(*, source_steps: int, rounds: int, steps_per_round: int) -> int:
    """Counts the steps of a whole run, which a control trains on the source alone.

    Args:
        source_steps: steps of the source stage.
        rounds: rounds of self-training.
        steps_per_round: steps of a round.

    Returns:
        The number of steps.
    """
    return source_steps + rounds * steps_per_round


class Schedule:
    """Counts the steps of the source stage and of the rounds after it.

    Args:
        source_steps: steps of the source stage.
        rounds: rounds of self-training; 0 trains on the source alone.
        epochs_per_round: passes over the target's training images in a round.
        steps_per_round: steps of a round, instead of `epochs_per_round`.
        checkpoint_every: most steps that an interrupted run repeats.
    """

    def __init__(
        self,
        *,
        source_steps: int,
        rounds: int,
        epochs_per_round: float = 2,
        steps_per_round: int | None = None,
        checkpoint_every: int = 200,
    ):
        for name, value, least in (
            ("source_steps", source_steps, 0),
            ("rounds", rounds, 0),
            ("epochs_per_round", epochs_per_round, 0),
            ("steps_per_round", steps_per_round or 0, 0),
            ("checkpoint_every", checkpoint_every, 1),
        ):
            if value < least:
                raise UserError(f"Schedule.{name} is {value}; it must be at least {least}.")
        self.rounds = rounds
        self.checkpoint_every = checkpoint_every
        self._source_steps = source_steps
        self._epochs_per_round = epochs_per_round
        self._steps_per_round = steps_per_round

    def count_steps(self, round_index: int, num_images: int, batch_size: int) -> int:
        """Counts the steps of a stage.

        Args:
            round_index: 0 for the source stage.
            num_images: training images of the target.
            batch_size: target images in a batch, over all replicas.

        Returns:
            The number of steps.
        """
        if round_index == 0:
            return self._source_steps
        if self._steps_per_round is not None:
            return self._steps_per_round
        return math.ceil(self._epochs_per_round * num_images / batch_size)
