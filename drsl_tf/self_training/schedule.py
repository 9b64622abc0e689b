"""The number of training steps of an experiment."""

from __future__ import annotations

from data_pipelines.errors import check_integer


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
        steps_per_round: steps of a round.
        checkpoint_every: most steps that an interrupted run repeats.
    """

    def __init__(
        self,
        *,
        source_steps: int,
        rounds: int,
        steps_per_round: int,
        checkpoint_every: int = 200,
    ):
        for name, value, least in (
            ("source_steps", source_steps, 0),
            ("rounds", rounds, 0),
            ("steps_per_round", steps_per_round, 0),
            ("checkpoint_every", checkpoint_every, 1),
        ):
            check_integer(f"Schedule.{name}", value, least=least)
        self.source_steps = source_steps
        self.rounds = rounds
        self.steps_per_round = steps_per_round
        self.checkpoint_every = checkpoint_every

    def count_steps(self, round_index: int) -> int:
        """Counts the steps of a stage.

        Args:
            round_index: 0 for the source stage.

        Returns:
            The number of steps.
        """
        return self.steps_per_round if round_index else self.source_steps
