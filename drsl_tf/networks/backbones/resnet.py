"""ResNet-101 as the base of DeepLab."""

from __future__ import annotations

import keras

from drsl_tf.common import FEATURES
from drsl_tf.networks.backbones import surgery
from drsl_tf.networks.backbones.applications import build_application
from drsl_tf.networks.backbones.preprocessing import normalise_caffe


def resnet101(
    *,
    output_stride: int = 8,
    weights: str | None = None,
    freeze_batch_norm: bool = True,
) -> keras.Model:
    """Builds ResNet-101 (keras.applications) with dilation in place of its last strides.

    At stride 8, stage 4 has dilation 2 and stage 5 dilation 4: the base of DeepLab-v2
    (L.-C. Chen et al., PAMI 2018); at stride 16, stage 5 has dilation 2, as in DeepLab-v3+.

    Args:
        output_stride: stride of "features", 8 or 16.
        weights: None for random weights, "imagenet" to download them, or the path of an HDF5
            or `.keras` file of the network, whose top is not read.
        freeze_batch_norm: keep statistics, scales and offsets of batch norm as loaded; with
            random weights use False.

    Returns:
        Base with "features" (stage 5, D = 2048), "level2" (stage 2, stride 4, 256 channels) and
        "level3" (stage 3, stride 8, 512 channels).

    Raises:
        UserError: another output stride; the weights cannot be downloaded, the file is missing
            or does not fit.
    """
    backbone = build_application(keras.applications.ResNet101, "resnet101", weights)
    outputs = {
        "level2": backbone.get_layer("conv2_block3_out").output,
        "level3": backbone.get_layer("conv3_block4_out").output,
        FEATURES: backbone.output,
    }
    trunk = keras.Model(backbone.input, outputs, name="resnet101_trunk")
    trunk = surgery.dilate(trunk, output_stride)
    if freeze_batch_norm:
        surgery.freeze_batch_norm(trunk)
    image = keras.Input((None, None, 3), name="image")
    return keras.Model(image, trunk(normalise_caffe(image)), name="resnet101")
