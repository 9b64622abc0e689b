"""ClassMix between domains: half of the classes of a source image, pasted into a target image.

V. Olsson et al., "ClassMix", WACV 2021; across domains: W. Tranheden et al., "DACS", WACV 2021.
"""

from __future__ import annotations

import tensorflow as tf

from drsl_tf.common import IGNORE_ID
from drsl_tf.self_training.image_draws import draw


def draw_class_masks(
    labels: tf.Tensor,
    num_classes: int,
    *,
    seed: tf.Tensor,
    first: int | tf.Tensor = 0,
    total: int | tf.Tensor | None = None,
) -> tf.Tensor:
    """Masks the pixels of half of each label map's classes, rounded up, drawn at random.

    Args:
        labels: (B, H, W) integer tensor, classes 0..num_classes-1 or 255, which is never masked.
        num_classes: number of classes.
        seed: (2,) integer tensor.
        first: index of the first map in the batch of all replicas, so that a map's draw does not
            depend on how that batch is split.
        total: number of maps in that batch; None is B.

    Returns:
        (B, H, W) bool tensor.
    """
    count = tf.shape(labels)[0]
    labels = tf.where(labels == IGNORE_ID, num_classes, tf.cast(labels, tf.int32))
    # One segment per map and class; the last class of each map holds the ignored pixels.
    segments = tf.range(count)[:, tf.newaxis, tf.newaxis] * (num_classes + 1) + labels
    pixels = tf.math.unsorted_segment_sum(
        tf.ones_like(segments), segments, count * (num_classes + 1)
    )
    present = tf.reshape(pixels, (count, num_classes + 1))[:, :num_classes] > 0
    noise = draw(count, num_classes, seed=seed, first=first, total=total)
    noise = tf.where(present, noise, 2.0)
    ranks = tf.argsort(tf.argsort(noise, axis=1), axis=1)
    half = (tf.math.count_nonzero(present, axis=1, dtype=tf.int32, keepdims=True) + 1) // 2
    chosen = tf.logical_and(present, ranks < half)
    chosen = tf.pad(chosen, [[0, 0], [0, 1]], constant_values=False)
    return tf.gather(chosen, labels, batch_dims=1)


def paste(mask: tf.Tensor, pasted: tf.Tensor, under: tf.Tensor) -> tf.Tensor:
    """Pastes pixels of one batch of maps onto another.

    Args:
        mask: (B, H, W) bool, where to paste.
        pasted: (B, H, W) or (B, H, W, 3) tensor.
        under: tensor of the same shape and type.

    Returns:
        Tensor of that shape and type.
    """
    if pasted.shape.rank == 4:
        mask = mask[..., tf.newaxis]
    return tf.where(mask, pasted, under)
