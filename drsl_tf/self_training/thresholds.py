"""Confidence thresholds per class from histograms of a fixed size.

The rule follows CBST (Zou et al., ECCV 2018), whose code keeps every confidence; here the memory is
C x bins for any number of pixels.
"""

from __future__ import annotations

import numpy as np

# The largest float64 below 1 is 1 - 2**-53, so only confidence 1 lies beyond.
_MAX_CERTAINTY = 53.0 * np.log(2.0)


class ConfidenceHistogram:
    """Counts the predicted pixels of each class by confidence.

    The bins are uniform in u = -log(1 - p) over [0, 53 log 2], and p = 1 falls into the last.
    Most confidences of a trained network are just below 1, where bins uniform in p would put them
    into one; in u they are distinct as long as float64 distinguishes them from 1.
    """

    def __init__(self, num_classes: int, num_bins: int = 4096):
        """Creates an empty histogram.

        Args:
            num_classes: the number C of classes.
            num_bins: the number of bins of each class.

        Raises:
            ValueError: a size is below 1.
        """
        if num_classes < 1 or num_bins < 1:
            raise ValueError(
                "A confidence histogram needs at least one class and one bin, not "
                f"{num_classes} classes and {num_bins} bins."
            )
        self._counts = np.zeros((num_classes, num_bins), np.int64)

    @classmethod
    def from_counts(cls, counts: np.ndarray) -> ConfidenceHistogram:
        """Creates a histogram from the `counts` of another, or from a sum of several.

        Args:
            counts: (C, bins) integer array; copied.

        Returns:
            A ConfidenceHistogram.

        Raises:
            ValueError: the array has another rank or dtype, or a negative count.
        """
        counts = np.asarray(counts)
        if counts.ndim != 2 or not np.issubdtype(counts.dtype, np.integer):
            raise ValueError(
                "The counts of a confidence histogram are integers of shape (classes, bins), not "
                f"{counts.dtype} of shape {counts.shape}."
            )
        if counts.size and counts.min() < 0:
            raise ValueError("The counts of a confidence histogram hold a negative number.")
        histogram = cls(*counts.shape)
        histogram._counts += counts
        return histogram

    @property
    def counts(self) -> np.ndarray:
        """(C, bins) int64 array, a copy, to be summed over workers."""
        return self._counts.copy()

    def update(self, confidence: np.ndarray, prediction: np.ndarray) -> None:
        """Adds pixels.

        Args:
            confidence: float array of any shape, values in [0, 1]; float64 distinguishes the
                confidences near 1.
            prediction: integer array of the same shape, values 0..C-1.

        Raises:
            ValueError: the shapes differ, the predictions are no integers, or a value is NaN or out
                of range. Nothing is added then.
        """
        num_classes, num_bins = self._counts.shape
        confidence = np.asarray(confidence, np.float64)
        prediction = np.asarray(prediction)
        if confidence.shape != prediction.shape:
            raise ValueError(
                f"Confidences of shape {confidence.shape} do not match predictions of shape "
                f"{prediction.shape}."
            )
        if not np.issubdtype(prediction.dtype, np.integer):
            raise ValueError(f"Predictions must be integers, not {prediction.dtype}.")
        if not confidence.size:
            return
        lowest, highest = confidence.min(), confidence.max()
        if np.isnan(lowest):
            raise ValueError(
                f"{np.count_nonzero(np.isnan(confidence))} of {confidence.size} confidences are "
                "NaN."
            )
        if lowest < 0 or highest > 1:
            raise ValueError(
                f"Confidences must lie in [0, 1], but they range from {lowest} to {highest}."
            )
        if prediction.min() < 0 or prediction.max() >= num_classes:
            raise ValueError(
                f"Predictions must be classes 0 to {num_classes - 1}, but they range from "
                f"{prediction.min()} to {prediction.max()}."
            )
        bins = _find_bins(confidence.ravel(), num_bins)
        bins += prediction.ravel().astype(np.intp) * num_bins
        self._counts += np.bincount(bins, minlength=self._counts.size).reshape(self._counts.shape)

    def thresholds(self, portion: float) -> np.ndarray:
        """Finds the confidence above which the given portion of each class lies.

        Of n pixels predicted as a class, ordered from the most confident, the one of index
        min(floor(n * portion), n - 1) decides, as in CBST: the threshold is the lower edge of its
        bin. The edge is rounded to float64 so that `confidence >= threshold` holds for exactly the
        pixels counted in this bin and above. Pixels of confidence 1 (1 - p below 2**-53) cannot be
        distinguished: of a class with more of them than the portion, all are selected.

        Args:
            portion: the share of each class's pixels to select, in (0, 1].

        Returns:
            (C,) float64 array; 1.0 for a class that was never predicted.

        Raises:
            ValueError: the portion is out of range.
        """
        if not 0 < portion <= 1:
            raise ValueError(f"The portion of pixels must lie in (0, 1], not {portion}.")
        num_bins = self._counts.shape[1]
        totals = self._counts.sum(axis=1)
        index = np.minimum(np.floor(totals * portion).astype(np.int64), totals - 1)
        from_the_top = np.cumsum(self._counts[:, ::-1], axis=1)
        bins = num_bins - 1 - np.sum(from_the_top <= index[:, np.newaxis], axis=1)
        return np.where(totals > 0, _find_lower_edges(bins, num_bins), 1.0)


def _find_bins(confidence, num_bins):
    """Returns the bins (intp) of a float64 array of confidences in [0, 1]."""
    certainty = np.negative(confidence)
    with np.errstate(divide="ignore"):  # log(0) at confidence 1: minus infinity is clipped below.
        np.log1p(certainty, out=certainty)
    certainty *= -num_bins / _MAX_CERTAINTY
    np.minimum(certainty, num_bins - 1, out=certainty)
    return certainty.astype(np.intp)


def _find_lower_edges(bins, num_bins):
    """Returns the smallest float64 confidence of each bin.

    Near 1 the confidences are sparser than the bins, and the rounded edge of a bin may be a
    confidence of the bin below; steps to the neighbouring float64 correct it.
    """
    edges = -np.expm1(-bins * (_MAX_CERTAINTY / num_bins))
    below = _find_bins(edges, num_bins) < bins
    while below.any():
        edges = np.where(below, np.nextafter(edges, 1.0), edges)
        below = _find_bins(edges, num_bins) < bins
    lower = np.nextafter(edges, 0.0)
    within = (_find_bins(lower, num_bins) >= bins) & (edges > 0)
    while within.any():
        edges = np.where(within, lower, edges)
        lower = np.nextafter(edges, 0.0)
        within = (_find_bins(lower, num_bins) >= bins) & (edges > 0)
    return edges
