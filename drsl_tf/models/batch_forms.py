"""The forms of batches that a model trains on and is scored on, as one form."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from data_pipelines.errors import UserError
from drsl_tf import common

_EXPECTED = (
    'A batch is {"source": half, "target": half}, one half {"image": ..., "label": ...}, or '
    "(images, labels), with images (B, H, W, 3), RGB in [0, 255], and integer labels (B, H, W) or "
    "(B, H, W, 1), class ids or 255 to ignore"
)

_IMAGES = tf.TensorShape((None, None, None, 3))

Batch = dict[str, dict[str, tf.Tensor]]


def read_batch(data: Any) -> Batch:
    """Converts a batch of any form to the form with a source and a target half.

    Args:
        data: `{"source": half, "target": half}`, with or without the target; one half, which is
            the source's; or (images, labels). A half is `{"image": (B, H, W, 3), "label":
            (B, H, W) or (B, H, W, 1)}`. Images have any real type, labels any integer type.

    Returns:
        `{"source": half, "target": half}` with images (B, H, W, 3) float32 and labels (B, H, W)
        int32; a target that is not given has no image.

    Raises:
        UserError: the batch has another form, or a tensor another shape or type.
    """
    if isinstance(data, tuple) and len(data) == 1:
        data = data[0]
    if isinstance(data, (tuple, list)):
        data = _read_pair(*data)
    if tf.is_tensor(data) or isinstance(data, np.ndarray):
        data = _read_pair(data)
    if not isinstance(data, dict):
        raise UserError(f"{_EXPECTED}; this one is a {type(data).__name__}.")
    if common.IMAGE in data:
        data = {common.SOURCE: data}
    if set(data) - {common.SOURCE, common.TARGET} or common.SOURCE not in data:
        raise UserError(f"{_EXPECTED}; this one has the keys {', '.join(map(repr, data))}.")
    batch = {name: _read_half(name, data[name]) for name in data}
    if common.TARGET not in batch:
        source = batch[common.SOURCE]
        batch[common.TARGET] = {
            key: tf.ensure_shape(value[:0], (0, *value.shape[1:])) for key, value in source.items()
        }
    return {name: batch[name] for name in (common.SOURCE, common.TARGET)}


def has_images(half: dict[str, tf.Tensor]) -> bool:
    """Returns whether a half of a batch has images; a half without any has the static size 0."""
    return half[common.IMAGE].shape[0] != 0


def check_images(images: Any) -> tf.Tensor:
    """Checks a batch of images.

    Args:
        images: (B, H, W, 3) array or tensor of any real type, RGB in [0, 255].

    Returns:
        The images as a tensor of their type.

    Raises:
        UserError: the shape or the type is another.
    """
    images = _as_tensor(images)
    shape, dtype = images.shape, images.dtype
    is_real = dtype.is_floating or dtype.is_integer
    if not shape.is_compatible_with(_IMAGES) or not is_real:
        raise UserError(
            f"Images are (B, H, W, 3), RGB in [0, 255], uint8 or float; these are {dtype.name} of "
            f"shape {shape}."
        )
    # A step that was called with other shapes before may not know these.
    return tf.ensure_shape(images, _IMAGES)


def _read_pair(images, labels=None, weights=None):
    if labels is None:
        raise UserError(f"{_EXPECTED}; this one has no labels.")
    if weights is not None:
        raise UserError(
            "A DrslModel takes no sample_weight: ignore pixels by the label 255, and weight "
            "classes by DrslModel(class_weights=...)."
        )
    return {common.IMAGE: images, common.LABEL: labels}


def _read_half(name, half):
    if not isinstance(half, dict) or not {common.IMAGE, common.LABEL} <= set(half):
        raise UserError(f'{_EXPECTED}; its {name} half has no "image" and "label".')
    images = tf.cast(check_images(half[common.IMAGE]), tf.float32)
    labels = _as_tensor(half[common.LABEL])
    shape, rank = labels.shape, labels.shape.rank
    if (
        rank not in (3, 4, None)
        or rank == 4
        and shape[-1] not in (1, None)
        or not labels.dtype.is_integer
    ):
        raise UserError(
            "Labels are integers of shape (B, H, W) or (B, H, W, 1), class ids or 255 to ignore; "
            f"the {name}'s are {labels.dtype.name} of shape {shape}. Convert one-hot labels by "
            "argmax over the classes."
        )
    if not shape[:3].is_compatible_with(images.shape[:3]):
        raise UserError(
            f"The {name}'s labels have the shape {shape}, and its images {images.shape}: each "
            "image needs a label map of its size."
        )
    if None in (rank, *shape[1:3], *images.shape[1:3]):
        sizes = tf.shape(labels)[1:3], tf.shape(images)[1:3]
        message = f"Label maps of the {name} need the sizes of their images."
        with tf.control_dependencies([tf.debugging.assert_equal(*sizes, message=message)]):
            labels = tf.identity(labels)
    if rank != 3:
        labels = tf.ensure_shape(tf.reshape(labels, tf.shape(images)[:3]), images.shape[:3])
    return {**half, common.IMAGE: images, common.LABEL: tf.cast(labels, tf.int32)}


def _as_tensor(value):
    try:
        return tf.convert_to_tensor(value)
    except (TypeError, ValueError) as error:
        raise UserError(
            f"{_EXPECTED}; a {type(value).__name__} is no such array. Images of several sizes need "
            "batches of their own."
        ) from error
