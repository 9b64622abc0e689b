"""Sizes of images and maps: the multiple of pixels that a base divides, and its strides."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from data_pipelines.errors import UserError

DEFAULT_MULTIPLE = 32
"""Every network of this package divides an image of this multiple without a remainder."""


def find_size_multiple(base: keras.Model) -> int:
    """Returns the multiple of pixels at which all maps of a base lie exactly on the image's grid.

    Args:
        base: a network; one that needs another multiple than 32 has an attribute `size_multiple`,
            or a layer that has it, which a `.keras` file keeps.
    """
    owners = [base, *base.layers]
    return next(
        (owner.size_multiple for owner in owners if hasattr(owner, "size_multiple")),
        DEFAULT_MULTIPLE,
    )


def choose_probe_size(base: keras.Model) -> int:
    """Returns the side of a small image whose maps show the strides of a network exactly."""
    return 2 * find_size_multiple(base)


def measure_stride(size: int, rows: int, name: str) -> int:
    """Returns the pixels of an image per row of a map.

    Args:
        size: rows of the image.
        rows: rows of the map.
        name: name of the map, for the message.

    Raises:
        UserError: the stride is not a whole number.
    """
    if size % rows:
        raise UserError(
            f"The map {name!r} has {rows} rows for an image of {size}, which is no whole stride: "
            "set the attribute size_multiple of the base to a multiple of its strides."
        )
    return size // rows


def pad_to_multiple(images: tf.Tensor, multiple: int, value: float = 0.0) -> tf.Tensor:
    """Pads images at the bottom and the right.

    Args:
        images: (B, H, W, C) tensor, C known before it runs.
        multiple: pixels that the padded sizes are multiples of.
        value: the padding.

    Returns:
        (B, H', W', C) tensor of the same type.
    """
    # Not `-size % multiple`, which ONNX computes with another sign.
    missing = (multiple - tf.shape(images) % multiple) % multiple
    paddings = [[0, 0], [0, missing[1]], [0, missing[2]], [0, 0]]
    padded = tf.pad(images, paddings, constant_values=value)
    # Padding by sizes known only at run time loses the number of channels, which TFLite needs.
    return tf.reshape(padded, tf.concat([tf.shape(padded)[:3], [images.shape[-1]]], axis=0))


@keras.saving.register_keras_serializable(package="drsl_tf")
class PadToMultiple(keras.layers.Layer):
    """Pads images with zeros at the bottom and the right to a multiple of pixels.

    Args:
        size_multiple: the multiple.
        **kwargs: arguments of `keras.layers.Layer`.
    """

    def __init__(self, size_multiple: int, **kwargs: Any):
        super().__init__(**kwargs)
        self.size_multiple = size_multiple

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """Pads (B, H, W, C) images."""
        padded = pad_to_multiple(inputs, self.size_multiple)
        padded.set_shape(self.compute_output_shape(inputs.shape))
        return padded

    def compute_output_shape(self, input_shape: Sequence[int | None]) -> tuple[int | None, ...]:
        """Returns the shape of the padded images."""
        batch, *size, channels = tuple(input_shape)
        sides = (s if s is None else s + -s % self.size_multiple for s in size)
        return (batch, *sides, channels)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {**super().get_config(), "size_multiple": self.size_multiple}


@keras.saving.register_keras_serializable(package="drsl_tf")
class CropToGrid(keras.layers.Layer):
    """Crops a map of a padded image to ceil(n / stride) rows and columns, n those of the image.

    Args:
        stride: pixels per row of the map.
        **kwargs: arguments of `keras.layers.Layer`.
    """

    def __init__(self, stride: int, **kwargs: Any):
        super().__init__(**kwargs)
        self.stride = stride

    def call(self, inputs: Sequence[tf.Tensor]) -> tf.Tensor:
        """Crops the map.

        Args:
            inputs: pair (map (B, h, w, D), image (B, H, W, any) before padding).

        Returns:
            (B, ceil(H / stride), ceil(W / stride), D) tensor.
        """
        features, image = inputs
        rows, columns = tf.unstack((tf.shape(image)[1:3] + self.stride - 1) // self.stride)
        cropped = features[:, :rows, :columns]
        cropped.set_shape(self.compute_output_shape([features.shape, image.shape]))
        return cropped

    def compute_output_shape(
        self, input_shape: Sequence[Sequence[int | None]]
    ) -> tuple[int | None, ...]:
        """Returns the shape of the cropped map."""
        features, image = (tuple(shape) for shape in input_shape)
        sides = (s if s is None else -(-s // self.stride) for s in image[1:3])
        return (features[0], *sides, features[3])

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {**super().get_config(), "stride": self.stride}
