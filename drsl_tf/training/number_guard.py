"""Numbers that are not finite, found without waiting for every step."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import tensorflow as tf


class NonFiniteError(ArithmeticError):
    """A loss term, a gradient or a variable became NaN or infinite.

    Args:
        round_index: the stage, 0 for the source stage.
        step: the step within the stage, from 0.
        names: what is not finite.
        files: the images of the step's batch.
    """

    def __init__(self, round_index: int, step: int, names: Sequence[str], files: Sequence[str]):
        self.round_index = round_index
        self.step = step
        self.names = list(names)
        self.files = list(files)
        stage = f"of round {round_index}" if round_index else "of the source stage"
        verb = "is" if len(self.names) == 1 else "are"
        super().__init__(
            f"In step {step + 1} {stage}, {' and '.join(self.names)} {verb} not finite"
        )


class NumberGuard:
    """Keeps the numbers of steps on the device, until they are looked at together."""

    def __init__(self):
        self._kept: list[tuple] = []

    def add(self, step: int, numbers: tf.Tensor) -> None:
        """Takes the numbers of a step.

        Args:
            step: the step.
            numbers: (n,) float32; the same n for every step.
        """
        self._kept.append((step, numbers))

    def find(self) -> tuple[int, np.ndarray] | None:
        """Looks at all numbers since the last call; waits for the steps.

        Returns:
            None, or of the first step with a number that is not finite, the step and the (n,)
            bool array of which are not.
        """
        if not self._kept:
            return None
        steps, numbers = zip(*self._kept)
        self._kept = []
        invalid = ~np.isfinite(tf.stack(numbers).numpy())
        if not invalid.any():
            return None
        first = int(invalid.any(axis=1).argmax())
        return steps[first], invalid[first]
