"""Crops centred on rare classes of the pseudo-labels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from data_pipelines.errors import UserError


class PatchMiner:
    """Chooses the classes to mine, and the pixels that their crops are centred on.

    The rule of CBST and CRST (Y. Zou et al., ICCV 2019, released code): an image is mined with a
    fixed chance. Its crop is then centred on a random pixel of one of the rare classes that its
    label map contains, each with the same chance.

    Args:
        chance: share of the images to mine, in [0, 1].
        max_share: a class with less than this share of all labelled pixels is rare (in CRST, of all
            predicted pixels).
    """

    def __init__(self, *, chance: float = 0.8, max_share: float = 0.001):
        for name, value in (("chance", chance), ("max_share", max_share)):
            if not 0 <= value <= 1:
                raise UserError(f"PatchMiner.{name} is {value}; it must be in [0, 1].")
        self._chance = chance
        self._max_share = max_share

    def choose_classes(self, counts: np.ndarray) -> tuple[int, ...]:
        """Chooses the classes to mine.

        Args:
            counts: (N, C) pixels of each class in each label map.

        Returns:
            The ids of the rare classes that occur, ascending.
        """
        pixels = np.asarray(counts, np.int64).sum(axis=0)
        rare = (pixels > 0) & (pixels < self._max_share * pixels.sum())
        return tuple(int(index) for index in np.flatnonzero(rare))

    def draw_centre(self, label: tf.Tensor, classes: Sequence[int], seed: tf.Tensor) -> tf.Tensor:
        """Draws the pixel that an image's crop is centred on.

        Args:
            label: (H, W) of any integer type.
            classes: the classes to mine, at least one.
            seed: (2,) int32; the same seed gives the same pixel.

        Returns:
            (2,) int32, row and column; (-1, -1) leaves the crop's place to chance.
        """
        draws = tf.random.stateless_uniform((3,), seed)
        label = tf.cast(label, tf.int32)
        present = tf.stack([tf.reduce_any(tf.equal(label, index)) for index in classes])
        found = tf.boolean_mask(tf.constant(classes, tf.int32), present)
        is_mined = tf.logical_and(draws[0] < self._chance, tf.size(found) > 0)

        def choose():
            pixels = tf.where(tf.equal(label, found[_scale(draws[1], tf.size(found))]))
            return tf.cast(pixels[_scale(draws[2], tf.shape(pixels)[0])], tf.int32)

        return tf.cond(is_mined, choose, lambda: tf.constant([-1, -1]))


def _scale(draw, count):
    """Returns an index below `count` for a number in [0, 1)."""
    return tf.minimum(tf.cast(draw * tf.cast(count, tf.float32), tf.int32), count - 1)
