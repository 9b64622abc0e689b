"""A uniform sample of the pixels of each class, of bounded memory."""

from __future__ import annotations

import numpy as np


class PixelSample:
    """Keeps up to a number of pixels of each class, whatever the number of images.

    Args:
        size: most pixels of a class.
        generator: draws a key for every pixel; those with the smallest keys are kept.
    """

    def __init__(self, size: int, generator: np.random.Generator):
        self._size = size
        self._generator = generator
        self._kept: dict[int, tuple[np.ndarray, ...]] = {}

    def add(self, classes: np.ndarray, *arrays: np.ndarray) -> None:
        """Offers pixels.

        Args:
            classes: (N,) integers.
            *arrays: what to keep of each pixel, (N, ...) each.
        """
        offered = (self._generator.random(len(classes)), *arrays)
        for index in np.unique(classes).tolist():
            rows = classes == index
            found = tuple(array[rows] for array in offered)
            if index in self._kept:
                found = tuple(map(np.concatenate, zip(self._kept[index], found)))
            smallest = np.argsort(found[0], kind="stable")[: self._size]
            self._kept[index] = tuple(array[smallest] for array in found)

    def get(self) -> dict[int, tuple[np.ndarray, ...]]:
        """Returns the arrays of the sampled pixels by class, in the order of their keys."""
        return {index: kept[1:] for index, kept in sorted(self._kept.items())}
