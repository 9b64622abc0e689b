"""Sampling of images by the classes in them, rare ones first."""

from __future__ import annotations

import numpy as np

from data_pipelines.errors import UserError


class RareClassSampler:
    """Weighs images so that rare classes are drawn more often than they occur.

    The rule of DAFormer (L. Hoyer et al., CVPR 2022): with f_c the share of class c among all
    labelled pixels, a class is drawn with P(c) = softmax_c((1 - f_c) / temperature), then one of
    the images that contain it, uniformly. So an image's chance is the sum over its classes of
    P(c) / (number of images with c). Classes that no image contains take no part.

    Args:
        temperature: low ones draw rare classes almost alone, high ones every class alike.
        min_pixels: pixels of a class from which on an image counts as containing it, at the
            label's own size.
    """

    def __init__(self, *, temperature: float = 0.01, min_pixels: int = 1):
        if temperature <= 0:
            raise UserError(f"RareClassSampler.temperature is {temperature}; it must be above 0.")
        if min_pixels < 1:
            raise UserError(f"RareClassSampler.min_pixels is {min_pixels}; it must be at least 1.")
        self._temperature = temperature
        self._min_pixels = min_pixels

    def weigh(self, counts: np.ndarray) -> np.ndarray | None:
        """Gives each image's chance.

        Args:
            counts: (N, C) pixels of each class in each image.

        Returns:
            (N,) float64 that sums to 1; None where no image contains any class, so that there is
            nothing to go by.
        """
        counts = np.asarray(counts, np.float64)
        contains = counts >= self._min_pixels
        images = contains.sum(axis=0)
        known = images > 0
        if not known.any():
            return None
        share = counts.sum(axis=0) / counts.sum()
        logits = (1.0 - share[known]) / self._temperature
        chance = np.exp(logits - logits.max())
        chance /= chance.sum()
        return contains[:, known] @ (chance / images[known])
