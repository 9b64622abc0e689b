"""Pseudo-labels from logits and thresholds per class, as tensors.

The rule follows CBST (Zou et al., ECCV 2018): a pixel gets the class that exceeds its threshold
most. Confidences are exact up to the last float64 below 1: float32 softmax would round every margin
above 17 to a confidence of 1, and such pixels could not be ranked.
"""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from drsl_tf.common import IGNORE_ID


def confidence_and_prediction(logits: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Predicts the class of every pixel and its confidence.

    1 - p is summed from the other classes, not subtracted: with u = logsumexp of all logits minus
    logsumexp of the others, confidence = 1 - exp(-u) = -expm1(-u).

    Args:
        logits: (B, H, W, C) float tensor, computed in float32.

    Returns:
        Two (B, H, W) tensors: the largest softmax probability, float64, which is 1 only where u
        exceeds 36.7; and its class, int32.
    """
    shifted = _shift_logits(logits)
    prediction = tf.argmax(shifted, axis=-1, output_type=tf.int32)
    return _probability_of(shifted, prediction), prediction


def select_labels(
    logits: tf.Tensor,
    thresholds: np.ndarray | tf.Tensor,
    rule: str = "ratio",
) -> tf.Tensor:
    """Labels the pixels that are confident enough for their class.

    "ratio" is CBST's rule: with P the softmax, label = argmax_c P_c / thr_c where this ratio is at
    least 1. It may differ from the prediction, and so the labelled share from the portion that
    the thresholds were computed for. "argmax" keeps the prediction where its confidence reaches the
    threshold of its class. Both compare the confidences of `confidence_and_prediction`, without
    further rounding.

    Args:
        logits: (B, H, W, C) float tensor, computed in float32.
        thresholds: (C,) float64 array or tensor of confidences in [0, 1]. A softmax maximum is
            never below 1 / C, and a threshold below it counts as 1 / C.
        rule: "ratio" or "argmax".

    Returns:
        (B, H, W) uint8 tensor of labels; 255 where no class is confident enough.

    Raises:
        ValueError: `rule` is neither "ratio" nor "argmax".
    """
    if rule not in ("ratio", "argmax"):
        raise ValueError(f'rule must be "ratio" or "argmax", not {rule!r}.')
    thresholds = tf.convert_to_tensor(thresholds, tf.float64)
    # A threshold of 0 would win every ratio. The tolerance is that of the float32 softmax.
    chance = (1.0 - 1e-6) / tf.cast(tf.shape(logits)[-1], tf.float64)
    thresholds = tf.maximum(thresholds, chance)
    shifted = _shift_logits(logits)
    # argmax P_c / thr_c = argmax (z_c - log thr_c): the softmax's divisor is common to all.
    scores = shifted
    if rule == "ratio":
        scores -= tf.cast(tf.math.log(thresholds), tf.float32)
    labels = tf.argmax(scores, axis=-1, output_type=tf.int32)
    selected = _probability_of(shifted, labels) >= tf.gather(thresholds, labels)
    return tf.cast(tf.where(selected, labels, IGNORE_ID), tf.uint8)


def _shift_logits(logits):
    """Returns logits in float32, with the largest of each pixel at 0."""
    logits = tf.cast(logits, tf.float32)
    return logits - tf.reduce_max(logits, axis=-1, keepdims=True)


def _probability_of(shifted, labels):
    """Returns (B, H, W) float64, the softmax probability of one class per pixel."""
    powers = tf.exp(shifted)
    is_other = tf.one_hot(labels, tf.shape(shifted)[-1], on_value=0.0, off_value=1.0)
    others = tf.reduce_sum(powers * is_other, axis=-1)
    doubt = others / tf.reduce_sum(powers, axis=-1)
    return 1.0 - tf.cast(doubt, tf.float64)
