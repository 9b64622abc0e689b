"""Networks of KerasHub, built with clear errors for their arguments and weights."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from data_pipelines.errors import UserError
from drsl_tf import compat
from drsl_tf.networks.backbones.preprocessing import IMAGENET_MEAN
from drsl_tf.networks.backbones.preprocessing import IMAGENET_STD


def build_hub_backbone(
    class_name: str, arguments: Mapping[str, Any], preset: str | None = None
) -> keras.Model:
    """Builds a backbone of KerasHub.

    Args:
        class_name: name of its class in `keras_hub.models`.
        arguments: the arguments of the class; with a preset those that differ from it.
        preset: None for random weights; the name of a preset, which KerasHub downloads unless its
            cache has it, or the directory of one.

    Returns:
        A functional model.

    Raises:
        UserError: KerasHub is absent or has no such class, the arguments do not fit it, or the
            preset cannot be read.
    """
    found = getattr(compat.import_keras_hub().models, class_name, None)
    if found is None:
        raise UserError(f"keras_hub.models has no class {class_name!r}.")
    if preset is not None:
        return _read_preset(found, preset, **arguments)
    try:
        return found(**arguments)
    except (TypeError, ValueError, IndexError) as error:
        raise UserError(f"keras_hub.models.{class_name} refuses its arguments: {error}") from error


def choose_normalisation(
    preset: str | None, mean: Sequence[float] | None, std: Sequence[float] | None
) -> tuple[Sequence[float], Sequence[float]]:
    """Returns mean and standard deviation of images in [0, 1] that the weights were trained on.

    Args:
        preset: the preset of the weights, if any.
        mean: None for that of the preset, or ImageNet's without one.
        std: as `mean`.

    Raises:
        UserError: the preset's image converter cannot be read.
    """
    if preset is not None and (mean is None or std is None):
        converter = _read_preset(compat.import_keras_hub().layers.ImageConverter, preset)
        scale = 1.0 if converter.scale is None else converter.scale
        offset = 0.0 if converter.offset is None else converter.offset
        scale, offset = (np.broadcast_to(np.ravel(value), 3) for value in (scale, offset))
        preset_mean, preset_std = -offset / scale / 255, 1 / scale / 255
        return (
            preset_mean.tolist() if mean is None else mean,
            preset_std.tolist() if std is None else std,
        )
    return mean or IMAGENET_MEAN, std or IMAGENET_STD


def _read_preset(owner, preset, **arguments):
    try:
        return owner.from_preset(preset, **arguments)
    except Exception as error:  # Each of KerasHub's sources raises exceptions of its own.
        raise UserError(
            f"The preset {preset!r} of {owner.__name__} cannot be read ({error}): load it on a "
            "machine with access to it, write it by save_to_preset and give that directory, or "
            "give arguments and the path of weights in its place."
        ) from error
