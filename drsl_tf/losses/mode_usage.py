"""Which modes the pixels use: tallies of batches, moving averages, and restarts of unused modes.

All of it is this project's choice. No gradient flows through these functions.
"""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

_NOISE = 0.1


class ModeTally(NamedTuple):
    """Sums over the pixels of each mode; they add up over replicas and parts of a batch.

    Attributes:
        counts: (C, K) float32, the number of pixels.
        squares: (C, K) float32, the sum of their squared distances to the mode.
        vectors: (C, K, d) float32, the sum of their embeddings.
    """

    counts: tf.Tensor
    squares: tf.Tensor
    vectors: tf.Tensor


def tally_modes(
    embedding: tf.Tensor, labels: tf.Tensor, chosen: tf.Tensor, modes: tf.Tensor
) -> ModeTally:
    """Sums up the pixels of each mode.

    Args:
        embedding: (N, d) float32 of unit vectors; a non-finite one does not count.
        labels: (N,) int32 class ids.
        chosen: (N,) int32, each pixel's mode of its class, as `nearest_modes` and
            `competing_modes` return it; -1 does not count.
        modes: (C, K, d) float32 of unit vectors.

    Returns:
        The tally.
    """
    embedding, modes = tf.stop_gradient(embedding), tf.stop_gradient(modes)
    num_classes, num_modes, _ = modes.shape
    is_finite = tf.reduce_all(tf.math.is_finite(embedding), axis=1)
    # Segments of negative ids are dropped.
    ids = tf.where(is_finite & (chosen >= 0), labels * num_modes + chosen, -1)
    embedding = tf.where(is_finite[:, tf.newaxis], embedding, 0.0)

    def add_up(values):
        sums = tf.math.unsorted_segment_sum(values, ids, num_classes * num_modes)
        return tf.reshape(sums, (num_classes, num_modes, *values.shape[1:]))

    # Counts in integers, as float32 sums of ones stall at 2**24.
    counts = tf.cast(add_up(tf.ones_like(ids)), tf.float32)
    vectors = add_up(embedding)
    # |E - R|^2 = 2 - 2 E . R of unit vectors.
    squares = tf.maximum(2.0 * counts - 2.0 * tf.reduce_sum(vectors * modes, axis=-1), 0.0)
    return ModeTally(counts, squares, vectors)


def average_usage(
    usage: tf.Tensor, variance: tf.Tensor, tally: ModeTally, decay: float
) -> tuple[tf.Tensor, tf.Tensor]:
    """Updates the moving averages of usage and variance.

    Args:
        usage: (C, K) float32, the share of each mode in the pixels of its class.
        variance: (C, K) float32, the mean squared distance of a mode's pixels to it.
        tally: of one step, of the pixels' nearest modes.
        decay: decay of both averages in a step. A class without a pixel keeps its usage, a mode
            without one its variance.

    Returns:
        The new usage and variance.
    """
    totals = tf.reduce_sum(tally.counts, axis=1, keepdims=True)
    shares = tally.counts / tf.maximum(totals, 1.0)
    means = tally.squares / tf.maximum(tally.counts, 1.0)
    return (
        tf.where(totals > 0, decay * usage + (1.0 - decay) * shares, usage),
        tf.where(tally.counts > 0, decay * variance + (1.0 - decay) * means, variance),
    )


def move_modes(modes: tf.Tensor, tally: ModeTally, decay: float) -> tf.Tensor:
    """Moves the modes towards their pixels: R = norm(decay R + (1 - decay) mean).

    Args:
        modes: (C, K, d) float32 of unit vectors.
        tally: of one step.
        decay: decay of the moving average.

    Returns:
        (C, K, d) float32 of unit vectors; a mode without a pixel stays.
    """
    counts = tally.counts[..., tf.newaxis]
    means = tally.vectors / tf.maximum(counts, 1.0)
    moved = tf.math.l2_normalize(decay * modes + (1.0 - decay) * means, axis=-1)
    return tf.where(counts > 0, moved, modes)


def restart_modes(
    weights: tf.Tensor, usage: tf.Tensor, variance: tf.Tensor, *, least: float, seed: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Restarts modes of little usage next to the mode of their class with the widest pixels.

    A mode of usage below `least` becomes norm(R_j + 0.1 noise), j the other mode of its class with
    the largest product of usage and variance, and noise a random unit vector: both are then about
    equally near to the pixels of j. Each gets half of j's usage, and j's variance. The modes of a
    class restart one after another.

    Args:
        weights: (C, K, d) float32, modes of any length.
        usage: (C, K) float32.
        variance: (C, K) float32.
        least: the usage from which a mode stays.
        seed: (2,) int32 of the noise; the same on every device.

    Returns:
        The new weights, usage and variance; those of other modes are unchanged.
    """
    num_modes = weights.shape[1]
    # Philox explicitly: by default TensorFlow's generator depends on the device.
    noise = tf.random.stateless_normal(weights.shape, seed, alg="philox")
    noise = _NOISE * tf.math.l2_normalize(noise, axis=-1)
    for k in range(num_modes):
        is_own = tf.range(num_modes) == k
        parent = tf.argmax(tf.where(is_own, -1.0, usage * variance), axis=1)
        is_parent = tf.one_hot(parent, num_modes, on_value=True, off_value=False, dtype=tf.bool)
        is_unused = usage[:, k, tf.newaxis] < least
        parents = tf.math.l2_normalize(tf.gather(weights, parent, axis=1, batch_dims=1), axis=-1)
        restarted = tf.math.l2_normalize(parents + noise[:, k], axis=-1)
        half = tf.gather(usage, parent, axis=1, batch_dims=1)[:, tf.newaxis] / 2.0
        spread = tf.gather(variance, parent, axis=1, batch_dims=1)[:, tf.newaxis]
        is_new = is_unused & is_own
        weights = tf.where(is_new[..., tf.newaxis], restarted[:, tf.newaxis], weights)
        usage = tf.where(is_unused & (is_own | is_parent), half, usage)
        variance = tf.where(is_new, spread, variance)
    return weights, usage, variance
