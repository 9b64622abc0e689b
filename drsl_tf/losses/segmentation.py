"""Losses on the logits of the segmentation head, and labels at the size of a feature map."""

from __future__ import annotations

import math
from collections.abc import Sequence

import tensorflow as tf

from drsl_tf.common import IGNORE_ID


def cross_entropy_loss(
    logits: tf.Tensor,
    labels: tf.Tensor,
    weights: tf.Tensor | None = None,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Sums the softmax cross-entropy over the valid pixels.

    One fused kernel computes loss and gradient together, so that the largest tensors are the
    logits in float32 and their gradient. A label that is neither a class nor 255 raises an
    error on a CPU and results in NaN on a GPU.

    Args:
        logits: (B, H, W, C) tensor of any float dtype, computed in float32.
        labels: (B, H, W) integer tensor, classes 0..C-1, or 255, which counts neither in the loss
            nor in the gradient.
        weights: optional (B, H, W) float tensor that multiplies the loss of each pixel, for example
            the confidence of its pseudo-label. No gradient flows into it.

    Returns:
        Two float32 scalars: the (weighted) sum over the valid pixels, and the number of the valid
        pixels. Both are 0 where every pixel is ignored.
    """
    labels = tf.cast(labels, tf.int32)
    valid = tf.not_equal(labels, IGNORE_ID)
    pixel_loss = tf.nn.sparse_softmax_cross_entropy_with_logits(
        labels=tf.where(valid, labels, 0), logits=tf.cast(logits, tf.float32)
    )
    if weights is not None:
        pixel_loss *= tf.stop_gradient(tf.cast(weights, tf.float32))
    # Not a product: an infinite loss of an ignored pixel times 0 would be NaN.
    total = tf.reduce_sum(tf.where(valid, pixel_loss, 0.0))
    # Counted in integers: float32 sums of ones stall at 2**24 pixels.
    return total, tf.cast(tf.math.count_nonzero(valid), tf.float32)


def uniform_divergence_loss(logits: tf.Tensor, labels: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Sums the divergence from the uniform distribution to the predicted one, KL(u || p).

    The regulariser MRKLD of confidence regularized self-training (Y. Zou et al., ICCV 2019),
    against overconfident predictions. The constant log C is subtracted, so a uniform prediction
    has 0.

    Args:
        logits: (B, H, W, C) tensor of any float dtype, computed in float32.
        labels: (B, H, W) integer tensor; pixels of 255 count neither in the loss nor in the
            gradient.

    Returns:
        Two float32 scalars: the sum over the valid pixels, and their number.
    """
    valid = tf.not_equal(labels, IGNORE_ID)
    log_p = tf.nn.log_softmax(tf.cast(logits, tf.float32))
    divergence = -tf.reduce_mean(log_p, axis=-1) - math.log(logits.shape[-1])
    total = tf.reduce_sum(tf.where(valid, divergence, 0.0))
    return total, tf.cast(tf.math.count_nonzero(valid), tf.float32)


def sample_labels(labels: tf.Tensor, size: Sequence[int] | tf.Tensor) -> tf.Tensor:
    """Samples a label map at the pixel centres of a smaller (or larger) map.

    The centre of the output pixel i lies at (i + 0.5) * H / h in the input, as in bilinear
    resizing with half-pixel centres, so that labels and resized logits stay aligned. Computed in
    integers, hence without rounding.

    Args:
        labels: (B, H, W) integer tensor.
        size: (h, w), integers or an integer tensor of shape (2,).

    Returns:
        (B, h, w) tensor of the dtype of `labels`.
    """
    input_size = tf.shape(labels)
    rows = _sample_indices(input_size[1], size[0])
    columns = _sample_indices(input_size[2], size[1])
    return tf.gather(tf.gather(labels, rows, axis=1), columns, axis=2)


def _sample_indices(input_size, output_size):
    """Returns the input index nearest to each output centre: floor((i + 0.5) * input / output)."""
    output_size = tf.cast(output_size, tf.int32)
    return ((2 * tf.range(output_size) + 1) * input_size) // (2 * output_size)
