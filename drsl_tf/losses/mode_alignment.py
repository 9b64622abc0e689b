"""Alignment of source and target pixels that map to the same mode (METHOD: SMA).

The sampling, the pairing, the average over modes and the gradient to both domains are this
project's choices.
"""

from __future__ import annotations

import tensorflow as tf

from drsl_tf.losses import metric_learning


def stochastic_mode_alignment_loss(
    source_embedding: tf.Tensor,
    source_labels: tf.Tensor,
    target_embedding: tf.Tensor,
    target_labels: tf.Tensor,
    modes: tf.Tensor,
    *,
    samples_per_mode: int = 64,
    seed: tf.Tensor,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Sums over the shared modes the mean squared distance of random source-target pairs (L_sma).

    A pixel belongs to the nearest mode of its own (pseudo-)class. For each mode (c, k) that holds
    pixels of both domains, n_ck = min(samples_per_mode, |S_ck|, |T_ck|) pixels are drawn from each
    domain, uniformly and without replacement, and paired at random; the mode adds the mean of
    |E_s - E_t|^2 over its pairs. The gradient flows to both embeddings, not to the modes.

    The loss is not additive over parts of a batch: a mode may be shared by the whole batch but by
    no part.

    Args:
        source_embedding: (N_s, d) float tensor of unit vectors; (..., d) is flattened to it.
        source_labels: (N_s,) integer tensor (any shape of N_s elements); 255 does not count.
        target_embedding: (N_t, d) float tensor of unit vectors.
        target_labels: (N_t,) integer tensor of pseudo-labels; 255 does not count.
        modes: (C, K, d) float tensor of unit vectors.
        samples_per_mode: the largest number of pairs that a mode contributes.
        seed: (2,) integer tensor; the same seed and inputs produce the same pairs on every device.

    Returns:
        Two float32 scalars: the sum over the shared modes, and their number. Both are 0 where no
        mode is shared.

    Raises:
        ValueError: `samples_per_mode` is below 1.
    """
    if samples_per_mode < 1:
        raise ValueError(f"samples_per_mode must be at least 1, not {samples_per_mode}.")
    source = _flatten_embedding(source_embedding)
    target = _flatten_embedding(target_embedding)
    num_modes = tf.shape(modes)[0] * tf.shape(modes)[1]
    source_ids = _mode_ids(source, source_labels, modes)
    target_ids = _mode_ids(target, target_labels, modes)
    source_counts = _count_members(source_ids, num_modes)
    target_counts = _count_members(target_ids, num_modes)

    pairs = tf.minimum(tf.minimum(source_counts, target_counts), samples_per_mode)
    # Rows (mode, place) of the pairs; none if a domain has no pixels.
    drawn = tf.where(tf.range(samples_per_mode)[tf.newaxis, :] < pairs[:, tf.newaxis])
    drawn = tf.cast(drawn, tf.int32)
    seeds = tf.random.experimental.stateless_split(seed, 2)
    source_rows = _draw_members(source_ids, source_counts, drawn, seeds[0])
    target_rows = _draw_members(target_ids, target_counts, drawn, seeds[1])

    difference = tf.gather(source, source_rows) - tf.gather(target, target_rows)
    pair_distances = tf.reduce_sum(tf.square(difference), axis=-1)
    mode_sums = tf.math.unsorted_segment_sum(pair_distances, drawn[:, 0], num_modes)
    mode_means = mode_sums / tf.cast(tf.maximum(pairs, 1), tf.float32)
    return tf.reduce_sum(mode_means), tf.cast(tf.math.count_nonzero(pairs), tf.float32)


def _flatten_embedding(embedding):
    """Reshapes (..., d) of any float dtype to (N, d) float32."""
    embedding = tf.cast(embedding, tf.float32)
    return tf.reshape(embedding, [-1, tf.shape(embedding)[-1]])


def _mode_ids(embedding, labels, modes):
    """Returns (N,) int32: c * K + k of each pixel's mode, and C * K where it is ignored."""
    distances = metric_learning.squared_distances(
        tf.stop_gradient(embedding), tf.stop_gradient(modes)
    )
    nearest = metric_learning.nearest_modes(distances, labels)
    num_classes, modes_per_class = tf.unstack(tf.shape(modes)[:2])
    labels = tf.reshape(tf.cast(labels, tf.int32), [-1])
    return tf.where(nearest >= 0, labels * modes_per_class + nearest, num_classes * modes_per_class)


def _count_members(ids, num_modes):
    """Returns (num_modes,) int32: the number of pixels in each mode."""
    return tf.math.unsorted_segment_sum(tf.ones_like(ids), ids, num_modes + 1)[:-1]


def _draw_members(ids, counts, drawn, seed):
    """Draws members of every mode uniformly and without replacement.

    One sort orders the pixels by mode and at random within a mode; the first ones of each mode
    are drawn.

    Args:
        ids: (N,) int32 tensor of mode ids; a last id beyond `counts` holds the ignored pixels.
        counts: (M,) int32 tensor, the number of pixels in each mode.
        drawn: (P, 2) int32 tensor of (mode, place) with places below `counts[mode]`.
        seed: (2,) integer tensor.

    Returns:
        (P,) int32 tensor of pixel indices.
    """
    # Philox explicitly: by default TensorFlow's generator depends on the device.
    noise = tf.random.stateless_uniform(
        tf.shape(ids), seed, minval=None, maxval=None, dtype=tf.int32, alg="philox"
    )
    # 32 bits of noise are within +-2**31, so the ranges of two modes never overlap.
    order = tf.argsort(tf.cast(ids, tf.int64) * 2**32 + tf.cast(noise, tf.int64))
    starts = tf.cumsum(counts, exclusive=True)
    return tf.gather(order, tf.gather(starts, drawn[:, 0]) + drawn[:, 1])
