"""Means of loss terms: over pixels, or over classes of the mean over each class's pixels."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf


class TermMeans:
    """Turns the sums and counts of several terms into one mean a term.

    A term has one group, all its pixels, or one group a class. Its mean is the mean over its groups
    of sum / count; groups without a pixel take no part. Sums and counts add up over replicas and
    over parts of a batch, and so every mean is that of the whole batch.

    Args:
        groups: how many groups each term has.
    """

    def __init__(self, groups: Sequence[int]):
        self._groups = tuple(groups)

    def join(self, values: Sequence[tf.Tensor]) -> tf.Tensor:
        """Puts the groups of all terms in one row.

        Args:
            values: one float32 tensor a term, a scalar or (groups,); a scalar of a term of several
                groups stands for each of them.

        Returns:
            (G,) float32, G groups altogether.
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
            counts: (G,) float32, what each sum is divided by: those of the whole batch.

        Returns:
            (terms,) float32; 0 for a term without a pixel.
        """
        means = self._add_groups(sums / tf.maximum(counts, 1.0))
        return means / tf.maximum(self._add_groups(tf.cast(counts > 0, tf.float32)), 1.0)

    def find_present(self, counts: tf.Tensor) -> tf.Tensor:
        """Tells which terms have a pixel.

        Args:
            counts: (G,) float32.

        Returns:
            (terms,) float32: 1 or 0.
        """
        return tf.minimum(self._add_groups(tf.cast(counts > 0, tf.float32)), 1.0)

    def _add_groups(self, values):
        """(G,) to (terms,). A term that is not finite leaves the others as they are."""
        return tf.stack([tf.reduce_sum(part) for part in tf.split(values, self._groups)])
