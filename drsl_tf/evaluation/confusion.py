"""The confusion matrix of a whole split, and the IoU from it."""

from __future__ import annotations

import numpy as np

from drsl_tf.common import IGNORE_ID


class ConfusionMatrix:
    """Counts pixels by label and prediction, summed over images.

    Pixels labelled 255 do not count. A prediction that is no class is a miss: a false
    negative of its label, as cityscapesScripts counts predictions of void, and no false positive.
    """

    def __init__(self, num_classes: int):
        """Creates an empty matrix.

        Args:
            num_classes: the number C of classes, 1 to 255.

        Raises:
            ValueError: it is out of range.
        """
        if not 1 <= num_classes <= 255:
            raise ValueError(f"The number of classes must lie in 1 to 255, not {num_classes}.")
        self._matrix = np.zeros((num_classes, num_classes + 1), np.int64)

    @classmethod
    def from_matrix(cls, matrix: np.ndarray) -> ConfusionMatrix:
        """Creates a confusion matrix from the `matrix` of another, or from a sum of several.

        Args:
            matrix: (C, C + 1) integer array; copied.

        Returns:
            A ConfusionMatrix.

        Raises:
            ValueError: the array has another shape or dtype, or a negative count.
        """
        matrix = np.asarray(matrix)
        if (
            matrix.ndim != 2
            or matrix.shape[1] != matrix.shape[0] + 1
            or not np.issubdtype(matrix.dtype, np.integer)
        ):
            raise ValueError(
                "The counts of a confusion matrix are integers of shape (C, C + 1), not "
                f"{matrix.dtype} of shape {matrix.shape}."
            )
        if matrix.min() < 0:
            raise ValueError("The counts of a confusion matrix hold a negative number.")
        confusion = cls(matrix.shape[0])
        confusion._matrix += matrix
        return confusion

    @property
    def num_classes(self) -> int:
        """The number C of classes."""
        return self._matrix.shape[0]

    @property
    def matrix(self) -> np.ndarray:
        """(C, C + 1) int64 array, a copy: rows are labels, columns predictions.

        The last column counts the predictions that are no class.
        """
        return self._matrix.copy()

    def update(self, label: np.ndarray, prediction: np.ndarray) -> None:
        """Adds the pixels of one image or of a batch.

        Args:
            label: integer array of any shape, values 0..C-1 or 255.
            prediction: integer array of the same shape; a value outside 0..C-1 is a miss.

        Raises:
            ValueError: the shapes differ, a dtype is no integer, or a label is neither a class
                nor 255. Nothing is added then.
        """
        label, prediction = np.asarray(label), np.asarray(prediction)
        if label.shape != prediction.shape:
            raise ValueError(
                f"The prediction has the size {_format_shape(prediction)}, but its label has the "
                f"size {_format_shape(label)}; resize the prediction to the label before scoring."
            )
        # Two 8-bit values combined into 16 bits: one bincount counts every pair, including ignored
        # and unknown values.
        pairs = np.left_shift(_check_labels(label), 8, dtype=np.uint16)
        pairs |= _mark_misses(prediction)
        table = np.bincount(pairs.ravel(), minlength=1 << 16).reshape(256, 256)
        table[IGNORE_ID] = 0
        num_classes = self.num_classes
        unknown = np.flatnonzero(table[num_classes:].any(axis=1)) + num_classes
        if unknown.size:
            raise ValueError(
                f"Labels hold the ids {', '.join(map(str, unknown))}, which are neither classes (0 "
                f"to {num_classes - 1}) nor the ignored id {IGNORE_ID}; map them by the "
                "label table of the dataset."
            )
        self._matrix[:, :-1] += table[:num_classes, :num_classes]
        self._matrix[:, -1] += table[:num_classes, num_classes:].sum(axis=1)

    def iou(self) -> np.ndarray:
        """Computes IoU = TP / (TP + FP + FN) of each class.

        Returns:
            (C,) float64 array of fractions in [0, 1]; NaN for a class that is neither present in
            the labels nor predicted on a labelled pixel.
        """
        hits = np.diagonal(self._matrix)
        unions = self._matrix.sum(axis=1) + self._matrix[:, :-1].sum(axis=0) - hits
        with np.errstate(invalid="ignore"):  # 0 / 0 is NaN by intention.
            return hits / unions

    def mean_iou(self) -> float:
        """Averages the IoU over the classes that have one.

        Returns:
            A float fraction in [0, 1]; NaN where no class has an IoU. `num_present` is the number
            of averaged classes.
        """
        iou = self.iou()
        present = iou[~np.isnan(iou)]
        return float(present.mean()) if present.size else float("nan")

    @property
    def num_present(self) -> int:
        """The number of classes that are present or predicted, and so have an IoU."""
        return int(np.count_nonzero(~np.isnan(self.iou())))


def to_percent(fraction: float) -> float | None:
    """Converts an IoU for a file or table.

    Args:
        fraction: in [0, 1], or NaN.

    Returns:
        Percent; None instead of NaN, which JSON has not.
    """
    return None if np.isnan(fraction) else 100.0 * float(fraction)


def _format_shape(array):
    """Formats a shape as 512x1024."""
    return "x".join(map(str, array.shape)) or "of a single number"


def _check_labels(label):
    """Returns labels as uint8, or raises a ValueError."""
    if label.dtype == np.uint8:
        return label
    if not np.issubdtype(label.dtype, np.integer):
        raise ValueError(f"Labels must be integers, not {label.dtype}.")
    if label.size and (label.min() < 0 or label.max() > 255):
        raise ValueError(
            f"Labels must lie in 0 to 255, but they range from {label.min()} to {label.max()}."
        )
    return label.astype(np.uint8)


def _mark_misses(prediction):
    """Returns predictions as uint8; values beyond 8 bits become 255, which is never a class."""
    if prediction.dtype == np.uint8:
        return prediction
    if not np.issubdtype(prediction.dtype, np.integer):
        raise ValueError(f"Predictions must be integers, not {prediction.dtype}.")
    narrow = prediction.astype(np.uint8)
    if prediction.size and (prediction.min() < 0 or prediction.max() > 255):
        narrow[(prediction < 0) | (prediction > 255)] = 255
    return narrow
