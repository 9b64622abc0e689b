"""Fusion of feature maps of several strides into one."""

from __future__ import annotations

from collections.abc import Sequence

import keras
import tensorflow as tf

from drsl_tf.networks.layers.resize_like import ResizeLike
from drsl_tf.networks.layers.sublayers import build_sublayer

# Short schedules: the running statistics must converge within tens of steps.
BATCH_NORM_MOMENTUM = 0.95
LEVELS = ("level2", "level3", "level4", "level5")
"""Keys of the levels that decoders join, at strides 4 to 32."""
DEEPEST_LEVEL = LEVELS[-1]
_PREFIXES = ("lateral", "fuse_", "refine_", "neck_")


def build_projections(
    projections: Sequence[keras.layers.Layer], input_shape: dict[str, Sequence[int | None]]
) -> None:
    """Builds one layer for each of `LEVELS`, for the shapes of a base's outputs."""
    for projection, level in zip(projections, LEVELS):
        build_sublayer(projection, input_shape[level])


def project_levels(
    projections: Sequence[keras.layers.Layer], resize: ResizeLike, inputs: dict[str, tf.Tensor]
) -> list[tf.Tensor]:
    """Projects `LEVELS` of a base's outputs and resizes them to the first one, finest first."""
    maps: list[tf.Tensor] = []
    for projection, level in zip(projections, LEVELS):
        x = projection(inputs[level])
        maps.append(resize([x, maps[0]]) if maps else x)
    return maps


def list_fusion_variables(base: keras.Model) -> list:
    """Lists the trainable variables that make and join levels after the encoder of a base."""
    layers = [layer for layer in base.layers if layer.name.startswith(_PREFIXES)]
    return [variable for layer in layers for variable in layer.trainable_variables]


def list_depths(base: keras.Model) -> list[tuple[tf.Variable, int]]:
    """Lists (trainable variable, number of layers from it to the encoder's output) of a base.

    Args:
        base: a network; a layer of it that has a method `list_depths` is its encoder.

    Returns:
        The variables of the encoder; none of a base without such a layer.
    """
    encoders = [layer for layer in base.layers if hasattr(layer, "list_depths")]
    return [pair for encoder in encoders for pair in encoder.list_depths()]


def fuse_levels(
    levels: Sequence[keras.KerasTensor], feature_dim: int, *, name: str
) -> keras.KerasTensor:
    """Fuses feature maps at the size of the first one.

    1x1 convolutions project all maps to `feature_dim` channels, and bilinear resizing brings them
    to one size. Batch norm, ReLU and a depthwise-separable 3x3 refinement follow their sum.

    Args:
        levels: symbolic maps, finest first.
        feature_dim: channels of the result.
        name: name of the output layer.

    Returns:
        Symbolic map (B, h, w, feature_dim) of the first level's size.
    """
    laterals = []
    for index, level in enumerate(levels):
        x = keras.layers.Conv2D(feature_dim, 1, use_bias=False, name=f"lateral{index}")(level)
        if index:
            x = ResizeLike(name=f"lateral{index}_resize")([x, levels[0]])
        laterals.append(x)
    x = keras.layers.Add(name="fuse_add")(laterals)
    x = keras.layers.BatchNormalization(momentum=BATCH_NORM_MOMENTUM, name="fuse_bn")(x)
    x = keras.layers.ReLU(name="fuse_relu")(x)
    x = keras.layers.DepthwiseConv2D(3, padding="same", use_bias=False, name="refine_dw")(x)
    x = keras.layers.Conv2D(feature_dim, 1, use_bias=False, name="refine_pw")(x)
    x = keras.layers.BatchNormalization(momentum=BATCH_NORM_MOMENTUM, name="refine_bn")(x)
    return keras.layers.ReLU(name=name)(x)
