"""Means of loss terms: over pixels, or over classes of the mean over each class's pixels."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf


class TermMeans:
    """Computes one mean per term from the sums and counts of several terms.

    A term has one group of all its pixels, or one group per class. Its mean is the mean over its
    groups of sum / count; empty groups are ignored. Sums and counts add up over replicas and over
    parts of a batch, so every mean is that of the whole batch.

    Args:
        groups: number of groups of each term.
    """

    def __init__(self, groups: Sequence[int]):
        self._groups = tuple(groups)

    def join(self, values: Sequence[tf.Tensor]) -> tf.Tensor:
        """Concatenates the groups of all terms.

        Args:
            values: one float32 tensor per term, a scalar or (groups,); a scalar is repeated for all
                groups of its term.

        Returns:
            (G,) float32, G groups in total.
        """
        return tf.concat(
            [
                tf.broadcast_to(tf.reshape(value, [-1]), [groups])
                for value, groups in zip(values, self._groups)
            ],
            axis=0,
        )

    def compute(self, sums: tf.Tensor, counts: tf.Tensor) -> tf.Tensor:
        """Computes the means.

        Args:
            sums: (G,) float32, from `join`.
            counts: (G,) float32, the counts of the whole batch.

        Returns:
            (terms,) float32; 0 for a term without a pixel.
        """
        totals = self.add_groups(sums / tf.maximum(counts, 1.0))
        return totals / tf.maximum(self._count_present(counts), 1.0)

    def find_present(self, counts: tf.Tensor) -> tf.Tensor:
        """Returns which terms have a pixel.

        Args:
            counts: (G,) float32.

        Returns:
            (terms,) float32: 1 or 0.
        """
        return tf.minimum(self._count_present(counts), 1.0)

    def add_groups(self, values: tf.Tensor) -> tf.Tensor:
        """Sums (G,) to (terms,). A non-finite term does not affect the others."""
        return tf.stack([tf.reduce_sum(part) for part in tf.split(values, self._groups)])

    def _count_present(self, counts):
        """Returns the number of groups of each term that have a pixel."""
        return self.add_groups(tf.cast(counts > 0, tf.float32))
