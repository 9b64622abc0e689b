"""Counts of the pixels that a round labels, and of the correct ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from drsl_tf import common
from drsl_tf.self_training.thresholds import ConfidenceHistogram


class LabelTally:
    """Counts selected and correct pixels, by the pseudo-label's class.

    Args:
        num_classes: C, the number of classes.
    """

    def __init__(self, num_classes: int):
        self._selected = np.zeros(num_classes, np.int64)
        self._known = np.zeros(num_classes, np.int64)
        self._right = np.zeros(num_classes, np.int64)
        self._pixels = 0

    @classmethod
    def from_counts(cls, counts: np.ndarray) -> LabelTally:
        """Creates a tally from the `counts` of another, or from a sum of several."""
        tally = cls((len(counts) - 1) // 3)
        tally._pixels = int(counts[0])
        tally._selected, tally._known, tally._right = np.split(counts[1:], 3)
        return tally

    @property
    def counts(self) -> np.ndarray:
        """(1 + 3 C,) int64: all pixels, then by class those selected, known and correct."""
        return np.concatenate([[self._pixels], self._selected, self._known, self._right])

    def add(self, label: np.ndarray, truth: np.ndarray | None) -> None:
        """Counts one image.

        Args:
            label: (H, W) uint8 pseudo-label, 255 = not selected.
            truth: (H, W) uint8 label, 255 = ignore; None where it is not known.
        """
        self._pixels += label.size
        self._selected += self._count(label)
        if truth is not None:
            known = np.where(truth == common.IGNORE_ID, common.IGNORE_ID, label)
            self._known += self._count(known)
            self._right += self._count(np.where(truth == label, known, common.IGNORE_ID))

    def _count(self, label):
        return np.bincount(label.reshape(-1), minlength=256)[: len(self._selected)]

    def as_dict(self, class_names: Sequence[str], histogram: ConfidenceHistogram) -> dict[str, Any]:
        """Returns the shares, over all classes and by class name.

        Args:
            class_names: the C names.
            histogram: of all predictions, or of those of a sample of images, for the share of the
                pixels that is predicted as each class.

        Returns:
            "fraction" and "fractions" selected, "accuracy" and "accuracies" (None where no truth
            is known), and the selected "pixels".
        """
        predicted = histogram.counts.sum(axis=1)
        # Of a sample, an estimate for all images.
        predicted = predicted * (self._pixels / predicted.sum())
        scored = self._known.sum() > 0
        return {
            "fraction": float(self._selected.sum() / self._pixels),
            "accuracy": float(self._right.sum() / self._known.sum()) if scored else None,
            "fractions": _divide(self._selected, predicted, class_names),
            "accuracies": _divide(self._right, self._known, class_names) if scored else None,
            "pixels": dict(zip(class_names, self._selected.tolist())),
        }


def _divide(parts, wholes, class_names):
    """Returns part / whole by class name, None for an empty whole."""
    return {
        name: float(part / whole) if whole else None
        for name, part, whole in zip(class_names, parts, wholes)
    }
