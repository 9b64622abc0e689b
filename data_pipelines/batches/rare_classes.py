"""Sampling of images by the classes in them."""

from __future__ import annotations

import numpy as np

from data_pipelines.errors import UserError


class RareClassSampler:
    """Weights images so that rare classes are sampled more often than they occur.

    The rule of DAFormer (L. Hoyer et al., CVPR 2022): with f_c the share of class c among all
    labelled pixels, a class is sampled with P(c) = softmax_c((1 - f_c) / temperature), then one of
    the images that contain it, uniformly. So an image's probability is the sum over its classes
    of P(c) / (number of images with c). Classes that no image contains are left out.

    Args:
        temperature: of the softmax; low: rare classes almost alone, high: all classes equally.
        min_pixels: an image with at least so many pixels of a class contains it; counted at the
            label's size.
        min_crop_pixels: a crop is drawn again, up to 10 times, until it has more than so many
            pixels of the class that its image was drawn for; 0 takes the first crop.
    """

    def __init__(self, *, temperature: float = 0.01, min_pixels: int = 1, min_crop_pixels: int = 0):
        if temperature <= 0:
            raise UserError(f"RareClassSampler.temperature is {temperature}; it must be above 0.")
        if min_pixels < 1:
            raise UserError(f"RareClassSampler.min_pixels is {min_pixels}; it must be at least 1.")
        if min_crop_pixels < 0:
            raise UserError(
                f"RareClassSampler.min_crop_pixels is {min_crop_pixels}; it must be at least 0."
            )
        self.min_crop_pixels = min_crop_pixels
        self._temperature = temperature
        self._min_pixels = min_pixels

    def weigh(self, counts: np.ndarray) -> np.ndarray | None:
        """Computes the probability of each image and class.

        Args:
            counts: (N, C) pixels of each class in each image.

        Returns:
            (N, C) float64 that sums to 1; an image's sum is its probability. None where no image
            contains any class.
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
        weights = np.zeros(counts.shape)
        weights[:, known] = contains[:, known] * (chance / images[known])
        return weights
