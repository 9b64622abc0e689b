"""Mean IoU as a metric of a training or test step."""

from __future__ import annotations

import keras
import tensorflow as tf

from drsl_tf import common


def count_pairs(logits: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
    """Counts pixels by label and prediction.

    Args:
        logits: (B, H, W, C) float32.
        labels: (B, H, W) int32, classes 0..C-1 or 255, which does not count.

    Returns:
        (C, C) float64: rows are labels, columns predictions.
    """
    valid = tf.reshape(tf.not_equal(labels, common.IGNORE_ID), (-1,))
    prediction = tf.reshape(tf.argmax(logits, axis=-1, output_type=tf.int32), (-1,))
    return tf.math.confusion_matrix(
        tf.where(valid, tf.reshape(labels, (-1,)), 0),
        prediction,
        logits.shape[-1],
        weights=tf.cast(valid, tf.float64),  # float32 sums of ones stall at 2**24 pixels.
        dtype=tf.float64,
    )


class MeanIou(keras.metrics.Metric):
    """Mean IoU over the classes that are present or predicted, as `ConfusionMatrix.mean_iou`.

    `keras.metrics.MeanIoU` counts in float32 unless told otherwise, and its counts of several
    replicas cannot be added within a step.

    Args:
        num_classes: C.
    """

    def __init__(self, num_classes: int):
        super().__init__(name="miou", dtype="float64")
        self._counts = self.add_weight(
            shape=(num_classes, num_classes), initializer="zeros", name="counts", dtype="float64"
        )

    def update_state(self, counts: tf.Tensor) -> None:
        """Adds the counts of a batch.

        Args:
            counts: (C, C) float64, of `count_pairs`, summed over the replicas.
        """
        self._counts.assign_add(counts)

    def reset_state(self) -> None:
        """Sets the counts to 0."""
        self._counts.assign(tf.zeros(self._counts.shape, self._counts.dtype))

    def result(self) -> tf.Tensor:
        """Returns a float32 scalar fraction in [0, 1]; 0 before the first pixel."""
        counts = tf.convert_to_tensor(self._counts)
        hits = tf.linalg.diag_part(counts)
        unions = tf.reduce_sum(counts, axis=0) + tf.reduce_sum(counts, axis=1) - hits
        present = tf.cast(unions > 0, counts.dtype)
        total = tf.reduce_sum(tf.math.divide_no_nan(hits, unions))
        return tf.cast(tf.math.divide_no_nan(total, tf.reduce_sum(present)), tf.float32)
