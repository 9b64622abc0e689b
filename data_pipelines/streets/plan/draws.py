"""Random draws that are the same on every version of NumPy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

_Item = TypeVar("_Item")


class Draws:
    """A stream of Python numbers, a pure function of its keys.

    Every draw goes through `Generator.random`, and every result is a Python number: NumPy 1 and 2
    promote a NumPy scalar times a float32 array differently, a Python number in the same way.
    """

    def __init__(self, *keys: int):
        """Opens the stream.

        Args:
            *keys: non-negative integers; the same keys give the same stream.
        """
        self._generator = np.random.Generator(np.random.PCG64(list(keys)))

    def unit(self) -> float:
        """Returns a float in [0, 1)."""
        return float(self._generator.random())

    def between(self, low: float, high: float) -> float:
        """Returns a float in [low, high)."""
        return low + (high - low) * self.unit()

    def below(self, count: int) -> int:
        """Returns an integer in [0, count)."""
        return min(int(self.unit() * count), count - 1)

    def chance(self, probability: float) -> bool:
        """Returns True with the given probability."""
        return self.unit() < probability

    def pick(self, items: Sequence[_Item], weights: Sequence[float] | None = None) -> _Item:
        """Picks one item.

        Args:
            items: a non-empty sequence.
            weights: None for equal weights, or one non-negative number per item.

        Returns:
            The item.
        """
        if weights is None:
            return items[self.below(len(items))]
        left = self.unit() * sum(weights)
        for item, weight in zip(items, weights):
            left -= weight
            if left < 0:
                return item
        return items[-1]

    def raw(self, count: int) -> bytes:
        """Returns `count` random bytes."""
        return self._generator.bytes(count)

    def bell(self, shape: tuple[int, ...]) -> np.ndarray:
        """Draws noise of mean 0 and standard deviation 1, nearly normal.

        A sum of four bytes (Irwin-Hall): integers only, so that no library's exp or log is in it.

        Args:
            shape: of the array.

        Returns:
            float32 array of that shape, in [-3.5, 3.5].
        """
        size = 1
        for length in shape:
            size *= length
        raw = np.frombuffer(self.raw(4 * size), np.uint8).reshape((4,) + tuple(shape))
        total = raw.astype(np.int32)
        total = total[0] + total[1] + total[2] + total[3]
        # Four uniform bytes: mean 510, variance 4 * (256^2 - 1) / 12, deviation 147.80.
        return (total.astype(np.float32) - 510.0) / 147.8
