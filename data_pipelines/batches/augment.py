"""Geometric and photometric augmentation of pairs, a pure function of a seed."""

from __future__ import annotations

import copy

import tensorflow as tf
from absl import logging

from data_pipelines.batches.colour import adjust_hue_and_saturation
from data_pipelines.errors import UserError
from data_pipelines.labels.label_spaces import IGNORE_ID

# Value of padding: mid-grey, near the mean of natural images, so that a padded border is no strong
# edge to the network. Inference pads with the same value.
PAD_VALUE = 127.5
_MOST_REDRAWS = 10


class Augmenter:
    """Augments an image and its label map of any size to a training pair of a fixed size.

    Image and label share one crop and one resize (bilinear for the image, nearest for the label),
    so the cost depends on the size of the crop and not on that of the image. A crop larger than a
    scaled-down image is padded with mid-grey, its labels with the ignore id.

    Args:
        size: (height, width) of the crop, in pixels.
        resize: (height, width) of the whole image at scale 1, in pixels; None keeps its size.
        scale: (low, high) of the random scale, sampled uniformly.
        mirror: whether to flip left and right with probability 1/2.
        max_class_share: a crop is drawn again, up to 10 times, until no class fills more than
            this share of its labelled pixels.
        brightness: largest change, as a fraction of the range; sampled from +-brightness.
        contrast: (low, high) factor about each channel's mean.
        saturation: (low, high) factor in HSV.
        hue: largest rotation, as a fraction of the colour circle.
        gamma: (low, high) exponent on intensities in [0, 1].
    """

    def __init__(
        self,
        *,
        size: tuple[int, int],
        resize: tuple[int, int] | None = None,
        scale: tuple[float, float] = (1.0, 1.0),
        mirror: bool = True,
        max_class_share: float = 1.0,
        brightness: float = 0.0,
        contrast: tuple[float, float] = (1.0, 1.0),
        saturation: tuple[float, float] = (1.0, 1.0),
        hue: float = 0.0,
        gamma: tuple[float, float] = (1.0, 1.0),
    ):
        if len(size) != 2 or min(size) < 1:
            raise UserError(f"Augmenter.size must be (height, width) in pixels, not {size}.")
        for name, (low, high) in (
            ("scale", scale),
            ("contrast", contrast),
            ("saturation", saturation),
            ("gamma", gamma),
        ):
            if not 0 < low <= high:
                raise UserError(
                    f"Augmenter.{name} must be (low, high) with 0 < low <= high, not {(low, high)}."
                )
        if brightness < 0:
            raise UserError(f"Augmenter.brightness is {brightness}; it must be at least 0.")
        if not 0 < max_class_share <= 1:
            raise UserError(
                f"Augmenter.max_class_share is {max_class_share}; it must be above 0, at most 1."
            )
        self.size = tuple(int(n) for n in size)
        self._resize = None if resize is None else tuple(int(n) for n in resize)
        if self._resize is not None and any(n > m for n, m in zip(self.size, self._resize)):
            logging.warning(
                "Augmenter.size is %s (CROP) and the whole image is %s, Augmenter.resize (SIZE): "
                "crops are padded with grey where the image is smaller. Bind a CROP that fits.",
                self.size, self._resize,
            )  # fmt: skip
        self._scale = tuple(scale)
        self._mirror = mirror
        self._max_class_share = max_class_share
        self._brightness = brightness
        self._contrast = tuple(contrast)
        self._saturation = tuple(saturation)
        self._hue = hue
        self._gamma = tuple(gamma)

    def for_unlabelled(self) -> Augmenter:
        """Returns one that keeps colours and takes any crop, as there are no classes to count."""
        plain = copy.copy(self)
        plain._max_class_share = 1.0
        plain._brightness = plain._hue = 0.0
        plain._contrast = plain._saturation = plain._gamma = (1.0, 1.0)
        return plain

    def __call__(
        self,
        image: tf.Tensor,
        label: tf.Tensor,
        seed: tf.Tensor,
        *,
        wanted_class: int | tf.Tensor = 0,
        min_pixels: int = 0,
        centre: tf.Tensor | None = None,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Augments one pair.

        Args:
            image: (H, W, 3) uint8 or float32 in [0, 255].
            label: (H, W) of any integer type, ids with 255 = ignore.
            seed: (2,) int32; the same seed gives the same pair.
            wanted_class: class that the crop should show.
            min_pixels: pixels of that class that the crop should exceed: it is drawn again up to
                10 times; 0 takes any crop.
            centre: (2,) int32, row and column in the image that the crop is centred on, as far as
                it remains inside; None, or -1 in both, leaves its place to chance.

        Returns:
            image (h, w, 3) float32 in [0, 255] and label (h, w) int32, both of `size`.
        """
        geometry_seed, photometry_seed = tf.unstack(tf.random.split(seed, num=2))
        crop = self._transform_geometry(image, label, geometry_seed, centre)
        if min_pixels or self._max_class_share < 1:

            def is_rejected(index, _, crop_label):
                fits = self._fits(crop_label, wanted_class, min_pixels)
                return tf.logical_and(index < _MOST_REDRAWS, tf.logical_not(fits))

            def draw_again(index, *_):
                again = tf.random.fold_in(geometry_seed, index)
                return index + 1, *self._transform_geometry(image, label, again, centre)

            _, *crop = tf.while_loop(is_rejected, draw_again, (tf.constant(0), *crop))
        image, label = crop
        return self._transform_photometry(image, photometry_seed), label

    def _fits(self, label, wanted_class, min_pixels):
        """Returns whether a crop shows enough of the wanted class and enough other classes."""
        valid = tf.boolean_mask(label, tf.not_equal(label, IGNORE_ID))
        counts = tf.math.bincount(valid, minlength=IGNORE_ID, maxlength=IGNORE_ID)
        most = self._max_class_share * tf.cast(tf.size(valid), tf.float32)
        fits = tf.cast(tf.reduce_max(counts), tf.float32) <= most
        if min_pixels:
            fits = tf.logical_and(fits, counts[wanted_class] > min_pixels)
        return fits

    def _transform_geometry(self, image, label, seed, centre):
        draws = tf.random.stateless_uniform((6,), seed)
        native = tf.cast(tf.shape(image)[:2], tf.float32)
        whole = native if self._resize is None else tf.constant(self._resize, tf.float32)
        low, high = self._scale
        scaled = tf.maximum(tf.round(whole * (low + (high - low) * draws[0])), 1.0)
        size = tf.constant(self.size, tf.float32)
        inner = tf.minimum(scaled, size)
        window = tf.clip_by_value(tf.round(inner * native / scaled), 1.0, native)
        begin = tf.cast(tf.floor((native - window + 1.0) * draws[1:3]), tf.int32)
        if centre is not None:
            centred = tf.maximum(centre - tf.cast(window, tf.int32) // 2, 0)
            begin = tf.where(centre < 0, begin, centred)
        begin = tf.minimum(begin, tf.cast(native - window, tf.int32))
        window = tf.cast(window, tf.int32)
        inner = tf.cast(inner, tf.int32)

        image = tf.slice(image, [begin[0], begin[1], 0], [window[0], window[1], 3])
        label = tf.slice(label, begin, window)[..., tf.newaxis]
        unchanged = tf.reduce_all(tf.equal(window, inner))
        # Pixels that keep their size are copied: a resize to the same size costs as much as any
        # other.
        image = tf.cond(
            unchanged,
            lambda: tf.cast(image, tf.float32),
            lambda: _resize(image, window, inner),
        )
        label = tf.cond(
            unchanged,
            lambda: tf.cast(label, tf.int32),
            lambda: tf.cast(tf.image.resize(label, inner, method="nearest"), tf.int32),
        )
        spare = tf.constant(self.size) - inner
        before = tf.cast(tf.floor(tf.cast(spare + 1, tf.float32) * draws[3:5]), tf.int32)
        before = tf.minimum(before, spare)
        paddings = tf.stack([before, spare - before], axis=1)
        paddings = tf.concat([paddings, [[0, 0]]], axis=0)
        image, label = tf.cond(
            tf.reduce_any(spare > 0),
            lambda: (
                tf.pad(image, paddings, constant_values=PAD_VALUE),
                tf.pad(label, paddings, constant_values=IGNORE_ID),
            ),
            lambda: (image, label),
        )
        if self._mirror:
            flip = draws[5] < 0.5
            image = tf.cond(flip, lambda: tf.reverse(image, [1]), lambda: image)
            label = tf.cond(flip, lambda: tf.reverse(label, [1]), lambda: label)
        image = tf.ensure_shape(image, (*self.size, 3))
        return image, tf.ensure_shape(label, (*self.size, 1))[..., 0]

    def _transform_photometry(self, image, seed):
        seeds = tf.unstack(tf.random.split(seed, num=5))
        image = tf.clip_by_value(image / 255.0, 0.0, 1.0)
        if self._gamma != (1.0, 1.0):
            # Vectorised, unlike tf.pow; exp(log(0)) is 0.
            exponent = tf.random.stateless_uniform((), seeds[0], *self._gamma)
            image = tf.exp(exponent * tf.math.log(image))
        if self._brightness:
            image = tf.image.stateless_random_brightness(image, self._brightness, seeds[1])
        if self._contrast != (1.0, 1.0):
            # tf.image.stateless_random_contrast refuses low == high.
            factor = tf.random.stateless_uniform((), seeds[2], *self._contrast)
            image = tf.image.adjust_contrast(image, factor)
        if self._hue or self._saturation != (1.0, 1.0):
            image = adjust_hue_and_saturation(
                tf.clip_by_value(image, 0.0, 1.0),
                tf.random.stateless_uniform((), seeds[4], -self._hue, self._hue),
                tf.random.stateless_uniform((), seeds[3], *self._saturation),
            )
        return tf.clip_by_value(image, 0.0, 1.0) * 255.0


def _resize(image, window, inner):
    """Resizes an image (*window, 3) to `inner`, bilinear; pixels that shrink are averaged.

    Averaging costs three times as much, and makes no difference where no side shrinks.
    """
    return tf.cond(
        tf.reduce_any(inner < window),
        lambda: tf.image.resize(image, inner, antialias=True),
        lambda: tf.image.resize(image, inner),
    )
