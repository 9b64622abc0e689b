"""Networks of `keras.applications`, built with clear errors for their weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras

from data_pipelines.errors import UserError
from drsl_tf.networks.weights.weight_files import load_weights


def build_application(
    factory: Callable[..., keras.Model], name: str, weights: str | None = None, **arguments: Any
) -> keras.Model:
    """Builds a network of `keras.applications`, by default without its top and for any image size.

    Args:
        factory: function such as `keras.applications.MobileNetV2`.
        name: the network's name in error messages.
        weights: None, "imagenet" to download them, or a path.
        **arguments: further arguments of the factory; they override the defaults.

    Returns:
        Functional model of the factory's own layers.

    Raises:
        UserError: the weights cannot be downloaded, the file is missing or does not fit.
    """
    arguments = {"include_top": False, "input_shape": (None, None, 3), **arguments}
    if weights != "imagenet":
        backbone = factory(weights=None, **arguments)
        if weights is not None:
            load_weights(backbone, weights)
        return backbone
    try:
        return factory(weights="imagenet", **arguments)
    except Exception as error:  # Keras raises a bare Exception when a download fails
        raise UserError(
            f"The ImageNet weights of {name} cannot be fetched ({error}): download the file on "
            "another machine and give its path as weights, or use weights=None."
        ) from error
