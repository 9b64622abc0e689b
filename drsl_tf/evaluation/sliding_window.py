"""Logits of an image from overlapping windows, for networks of a fixed input size."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import tensorflow as tf


def place_windows(length: int, window: int, stride: int) -> list[int]:
    """Places windows along an axis.

    Args:
        length: pixels of the axis.
        window: pixels of a window.
        stride: pixels from one window to the next.

    Returns:
        Starts of the windows; the last one ends with the axis. Only 0 if the axis fits a window.
    """
    if length <= window:
        return [0]
    return [*range(0, length - window, stride), length - window]


def compute_window_logits(
    compute_logits: Callable, images: tf.Tensor, window: tuple[int, int], stride: tuple[int, int]
) -> tf.Tensor:
    """Averages the logits of every window that covers a pixel.

    Args:
        compute_logits: (B, h, w, 3) float32 -> (B, h, w, C) float32.
        images: (B, H, W, 3) float32.
        window: (height, width) in pixels; a shorter axis is one window.
        stride: (down, right) in pixels, at most the window's size.

    Returns:
        (B, H, W, C) float32.
    """
    height, width = images.shape[1:3]
    counts = np.zeros((1, height, width, 1), np.float32)
    total: np.ndarray | float = 0.0
    for top in place_windows(height, window[0], stride[0]):
        for left in place_windows(width, window[1], stride[1]):
            rows, columns = slice(top, top + window[0]), slice(left, left + window[1])
            logits = np.asarray(compute_logits(images[:, rows, columns]))
            if not isinstance(total, np.ndarray):
                total = np.zeros((*images.shape[:3], logits.shape[-1]), np.float32)
            total[:, rows, columns] += logits
            counts[:, rows, columns] += 1
    return tf.constant(total / counts)
