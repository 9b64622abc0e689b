"""A target of two unlike parts: every other image at dusk."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from data_pipelines.domains.domain import Domain
from data_pipelines.domains.domain import Pair

PARTS = ("day", "dusk")

_GAMMA = 1.6
_TINT = (0.45, 0.5, 0.65)


def darken(image: np.ndarray) -> np.ndarray:
    """Darkens an image, shadows more than lights, and blue the least.

    A value x in [0, 1] becomes t * x^1.6 with t = 0.45 (red), 0.5 (green), 0.65 (blue).

    Args:
        image: (H, W, 3) uint8 RGB.

    Returns:
        (H, W, 3) uint8.
    """
    return np.rint(255.0 * (image / 255.0) ** _GAMMA * _TINT).astype(np.uint8)


class HalfAtDusk:
    """Reads a data set of which some images are darkened; the rest is the data set's own.

    Args:
        domain: the data set.
    """

    def __init__(self, domain: Domain):
        self._domain = domain
        self._dark: set[str] = set()
        self.label_space = domain.label_space

    def split(self, pairs: Sequence[Pair]) -> tuple[list[Pair], list[Pair]]:
        """Splits images in turn, and darkens those of the second part from now on.

        Args:
            pairs: of the data set.

        Returns:
            The parts, in the order of `PARTS`.
        """
        day, dusk = list(pairs[0::2]), list(pairs[1::2])
        self._dark.update(pair.image_path for pair in dusk)
        return day, dusk

    def read_image(self, path: str) -> np.ndarray:
        """Reads an image, (H, W, 3) uint8, darkened in the second part."""
        image = self._domain.read_image(path)
        return darken(image) if path in self._dark else image

    def read_label(self, path: str) -> np.ndarray:
        """Reads a label map, (H, W) uint8."""
        return self._domain.read_label(path)
