"""Logits for images of any size, at the images' own resolution."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from collections.abc import Sequence
from typing import TYPE_CHECKING
from typing import Any

import tensorflow as tf

from data_pipelines.batches.augment import PAD_VALUE
from data_pipelines.errors import UserError
from data_pipelines.errors import check_integer
from drsl_tf import common
from drsl_tf.losses import metric_learning
from drsl_tf.losses import segmentation
from drsl_tf.networks.layers.image_grid import pad_to_multiple

if TYPE_CHECKING:
    from drsl_tf.models.model import DrslModel


@dataclasses.dataclass(frozen=True)
class Inference:
    """How inference runs on whole target images.

    Args:
        size: (height, width) in pixels of the network's input; None is each image's own.
        batch_size: images per batch in pseudo-labelling and scoring, where it changes no result,
            and in computing the target's statistics, where 4 instead of 8 cost 0.9 points on
            streets (`docs/results.md`).

    Raises:
        UserError: a number is below 1.
    """

    size: tuple[int, int] | None = None
    batch_size: int = 8

    def __post_init__(self):
        check_integer("Inference.batch_size", self.batch_size, least=1)
        check_size("Inference.size", self.size)


def check_size(name: str, size: Any) -> None:
    """Checks the size of the network's input.

    Args:
        name: the argument's name, for the error.
        size: its value.

    Raises:
        UserError: it is neither None nor two integers of at least 1.
    """
    sides = size if isinstance(size, (tuple, list)) else ()
    if size is not None and not (
        len(sides) == 2 and all(isinstance(side, int) and side >= 1 for side in sides)
    ):
        raise UserError(f"{name} is {size!r}; it must be (height, width) in pixels, or None.")


def pad_images(images: tf.Tensor, multiple: int) -> tf.Tensor:
    """Pads images at the bottom and the right, so that feature maps lie on the images' grid.

    Args:
        images: (B, H, W, 3) float32 in [0, 255].
        multiple: `DrslModel.size_multiple`, which the padded sizes are multiples of.

    Returns:
        (B, H', W', 3) float32, padded with the mid-grey that training pads with.
    """
    return pad_to_multiple(images, multiple, PAD_VALUE)


def upsample_logits(logits: tf.Tensor, stride: int, size: Sequence[int] | tf.Tensor) -> tf.Tensor:
    """Upsamples logits to the resolution of their images.

    The logits are upsampled by their stride, which keeps them on the image's grid, and cropped to
    the image: resizing directly to a size that the stride does not divide would shift them.

    Args:
        logits: (B, h, w, C) float32.
        stride: image pixels per logit, an int.
        size: (H, W) of the images before any padding, ints or int32 tensors; h * stride >= H.

    Returns:
        (B, H, W, C) float32.
    """
    grid = tf.shape(logits)[1:3] * stride
    logits = tf.image.resize(logits, grid, method="bilinear")
    return logits[:, : size[0], : size[1]]


def predict_logits(model: DrslModel, images: tf.Tensor) -> dict[str, tf.Tensor]:
    """Runs the segmentation network on images of any size.

    Args:
        model: a `DrslModel`.
        images: (B, H, W, 3), uint8 or float32 in [0, 255].

    Returns:
        The model's outputs on the padded images: logits (B, h, w, C) and, where the model has a
        multi-modal head, the embedding (B, h, w, d); h = ceil(H / m) * m / stride, m the
        model's `size_multiple`.
    """
    padded = pad_images(tf.cast(images, tf.float32), model.size_multiple)
    return model(padded, training=False)


def predict_full_size_logits(model: DrslModel, images: tf.Tensor) -> tf.Tensor:
    """Runs the segmentation network and upsamples its logits to the images' size.

    Args:
        model: a `DrslModel`.
        images: (B, H, W, 3), uint8 or float32 in [0, 255].

    Returns:
        (B, H, W, C) float32.
    """
    logits = predict_logits(model, images)[common.LOGITS]
    return upsample_logits(logits, model.logits_stride, tf.shape(images)[1:3])


def predict_cells(outputs: Mapping[str, tf.Tensor]) -> tf.Tensor:
    """Predicts the class of every cell of the embedding.

    Args:
        outputs: a `DrslModel`'s outputs: logits (B, h, w, C) and embedding (B, h', w', d).

    Returns:
        (B, h', w') int32 class ids, of the nearest logit.
    """
    prediction = tf.argmax(outputs[common.LOGITS], axis=-1, output_type=tf.int32)
    return segmentation.sample_labels(prediction, tf.shape(outputs[common.EMBEDDING])[1:3])


def find_modes(outputs: dict[str, tf.Tensor], modes: tf.Tensor) -> tf.Tensor:
    """Finds, for every cell of the embedding, the nearest mode of its predicted class.

    Args:
        outputs: a `DrslModel`'s outputs: logits (B, h, w, C) and embedding (B, h', w', d).
        modes: (C, K, d) float32 of unit length.

    Returns:
        (B, h', w') int32: c * K + k for mode k of class c.
    """
    classes = predict_cells(outputs)
    distances = metric_learning.squared_distances(outputs[common.EMBEDDING], modes)
    nearest = metric_learning.nearest_modes(distances, classes)
    return classes * modes.shape[1] + tf.reshape(nearest, tf.shape(classes))
