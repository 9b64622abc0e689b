"""Convolutional backbones of KerasHub."""

from __future__ import annotations

import math
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

import keras

from data_pipelines.errors import UserError
from drsl_tf.common import FEATURES
from drsl_tf.networks.backbones import surgery
from drsl_tf.networks.backbones.hub import build_hub_backbone
from drsl_tf.networks.backbones.hub import choose_normalisation
from drsl_tf.networks.backbones.preprocessing import normalise_torch
from drsl_tf.networks.layers.fusion import LEVELS
from drsl_tf.networks.layers.fusion import fuse_levels
from drsl_tf.networks.layers.image_grid import DEFAULT_MULTIPLE
from drsl_tf.networks.layers.image_grid import CropToGrid
from drsl_tf.networks.layers.image_grid import PadToMultiple
from drsl_tf.networks.weights.weight_files import load_weights


def keras_hub_pyramid(
    *,
    backbone: str,
    arguments: Mapping[str, Any] | None = None,
    preset: str | None = None,
    weights: str | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    freeze_batch_norm: bool = False,
    feature_dim: int = 128,
) -> keras.Model:
    """Builds a convolutional backbone of KerasHub for images of any size.

    It needs the newer dependency line and the extra `vfm`. Images are padded with the colour that
    normalisation maps to 0, to a multiple of 32. "features", the map of the multi-modal head, fuses
    level3 and the deeper levels by 1x1 convolutions, which is this project's choice.

    Args:
        backbone: a class of `keras_hub.models` with pyramid outputs, such as "ResNetBackbone",
            "EfficientNetBackbone", "CSPNetBackbone" or "DenseNetBackbone".
        arguments: its arguments; with a preset those that differ from it.
        preset: name of a KerasHub preset, or the directory of one, with arguments and weights. A
            run reads it whenever its model is built, for its export too.
        weights: None for random weights or those of the preset, or the path of an HDF5 file that
            `save_weights` of this class wrote.
        mean: mean of the images that the weights were trained on, in [0, 1]; None is the preset's,
            or ImageNet's without a preset.
        std: their standard deviation, as `mean`.
        freeze_batch_norm: keep statistics, scales and offsets of batch norm as loaded. After
            `drsl_tf.load_model`, those inside EfficientNet's blocks train again.
        feature_dim: channels D of "features".

    Returns:
        Base with "features" (stride 8) and those of "level2" ... "level5" (strides 4 to 32) that
        the backbone has.

    Raises:
        UserError: KerasHub is absent; the backbone has no map at stride 8, its arguments are
            invalid, or the preset or the weight file cannot be read or does not fit.
    """
    if backbone == "MiTBackbone":
        raise UserError(
            "KerasHub's MiTBackbone takes the square root of the number of tokens as height and "
            "width, which is right for square images only: use drsl_tf.backbones.mit."
        )
    network = build_hub_backbone(backbone, arguments or {}, preset)
    if weights is not None:
        load_weights(network, weights)
    strides = _measure_strides(network)
    if freeze_batch_norm:
        surgery.freeze_batch_norm(network)
    outputs = {level: network.pyramid_outputs[key] for level, (key, _) in strides.items()}
    trunk = keras.Model(network.input, outputs, name=f"{network.name}_trunk")
    image = keras.Input((None, None, 3), name="image")
    normalised = normalise_torch(image, *choose_normalisation(preset, mean, std))
    maps = trunk(PadToMultiple(DEFAULT_MULTIPLE, name="pad")(normalised))
    levels = {
        level: CropToGrid(stride, name=f"{level}_crop")([maps[level], image])
        for level, (_, stride) in strides.items()
    }
    fused = fuse_levels(
        [levels[level] for level in LEVELS[1:] if level in levels], feature_dim, name=FEATURES
    )
    return keras.Model(image, {FEATURES: fused, **levels}, name=network.name)


def _measure_strides(network):
    """Returns {level: (its key in the pyramid, stride)}, from the shapes of one image size."""
    strides = {}
    pyramid = getattr(network, "pyramid_outputs", {})
    if len(getattr(network.input, "shape", ())) == 4:
        size = 2 * DEFAULT_MULTIPLE
        shapes = keras.Model(network.input, pyramid).compute_output_shape((1, size, size, 3))
        for key, shape in shapes.items():
            stride = size / shape[1]
            level = f"level{math.log2(stride):g}"
            if len(shape) == 4 and level in LEVELS:
                strides[level] = (key, int(stride))
    if "level3" not in strides:
        raise UserError(
            f"{type(network).__name__} has no map at stride 8 among its pyramid outputs "
            f"{sorted(pyramid)}, which this project needs."
        )
    return strides
