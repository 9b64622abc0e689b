"""What the student sees of the target: strongly augmented, and masked.

The teacher labels the clean image. The recipes are those of DACS and DAFormer, and of masked image
consistency (L. Hoyer et al., MIC, CVPR 2023). Every draw belongs to one image and depends on the
seed and the image's index in the batch of all replicas alone.
"""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from data_pipelines.batches.colour import adjust_hue_and_saturation

# Standard deviations of the blur in pixels, and the taps on each side of its filter [DAFormer: a
# filter of a tenth of the image's height, whose outer taps are 0 in float32].
_SIGMA = (0.15, 1.15)
_RADIUS = 4
# Side of a mask's blocks in images of 512 pixels or more; an eighth of smaller ones [MIC, ours].
_LARGEST_BLOCK = 64


def augment_strongly(
    images: tf.Tensor,
    draws: tf.Tensor,
    *,
    jitter: float,
    jitter_chance: float,
    blur_chance: float,
) -> tf.Tensor:
    """Changes brightness, contrast, saturation and hue, and blurs.

    Args:
        images: (B, H, W, 3) float32 in [0, 255].
        draws: (B, 7) float32 in [0, 1).
        jitter: strength s: brightness changes by up to s of the range, contrast (about the image's
            mean) and saturation by factors in [1 - s, 1 + s], hue by up to s of the circle.
        jitter_chance: share of images whose colours change.
        blur_chance: share of images that are blurred, by a Gaussian filter.

    Returns:
        (B, H, W, 3) float32 in [0, 255].
    """
    changed, blurred, *changes, sigma = tf.unstack(draws, axis=1)
    if jitter and jitter_chance:
        strength = tf.where(changed < jitter_chance, jitter, 0.0)
        changes = [strength * (2.0 * uniform - 1.0) for uniform in changes]
        images = 255.0 * _change_colours(images / 255.0, *changes)
    if blur_chance:
        sigma = _SIGMA[0] + sigma * (_SIGMA[1] - _SIGMA[0])
        images = _blur(images, tf.where(blurred < blur_chance, sigma, 0.0))
    return images


def mask_blocks(
    images: tf.Tensor, draws: tf.Tensor, block: int, ratio: float, value: Sequence[float]
) -> tf.Tensor:
    """Replaces square blocks of each image by one colour.

    Args:
        images: (B, H, W, 3) float32.
        draws: (B, ceil(H / block), ceil(W / block)) float32 in [0, 1), see `count_blocks`.
        block: side of a block in pixels.
        ratio: share of the blocks that are replaced.
        value: three numbers, the colour.

    Returns:
        (B, H, W, 3) float32.
    """
    size = tf.shape(images)[1:3]
    masked = tf.repeat(tf.repeat(draws < ratio, block, axis=1), block, axis=2)
    masked = masked[:, : size[0], : size[1], tf.newaxis]
    return tf.where(masked, tf.constant(value, tf.float32), images)


def choose_block(size: Sequence[int]) -> int:
    """Returns the side of a mask's blocks for images of a size (height, width), in pixels."""
    return max(1, min(_LARGEST_BLOCK, min(size) // 8))


def count_blocks(size: Sequence[int], block: int) -> tuple[int, int]:
    """Returns the rows and columns of blocks that cover images of a size (height, width)."""
    return -(-size[0] // block), -(-size[1] // block)


def _change_colours(images, brightness, contrast, saturation, hue):
    """Changes images (B, H, W, 3) in [0, 1] by numbers (B,); 0 leaves an image as it is."""
    brightness, contrast = (tf.reshape(x, (-1, 1, 1, 1)) for x in (brightness, contrast))
    images = tf.clip_by_value(images + brightness, 0.0, 1.0)
    mean = tf.reduce_mean(images, axis=(1, 2, 3), keepdims=True)
    images = tf.clip_by_value(mean + (1.0 + contrast) * (images - mean), 0.0, 1.0)
    return adjust_hue_and_saturation(images, hue, 1.0 + saturation)


def _blur(images, sigma):
    """Filters images (B, H, W, 3) by Gaussians of deviations (B,); 0 leaves an image as it is."""
    offsets = tf.range(-_RADIUS, _RADIUS + 1, dtype=tf.float32)
    exponents = -0.5 * tf.square(offsets / tf.maximum(sigma, 1e-3)[:, tf.newaxis])
    taps = tf.nn.softmax(exponents, axis=1)
    for axis in (1, 2):
        length = tf.shape(images)[axis]
        paddings = [[_RADIUS, _RADIUS] if a == axis else [0, 0] for a in range(4)]
        padded = tf.pad(images, paddings, mode="REFLECT")
        images = tf.add_n(
            [
                tf.reshape(taps[:, k], (-1, 1, 1, 1))
                * (padded[:, k : k + length] if axis == 1 else padded[:, :, k : k + length])
                for k in range(2 * _RADIUS + 1)
            ]
        )
    return images
