"""Light base networks: images in, a dictionary of feature maps out.

Every function here returns a functional `keras.Model`, the "base": its input is (B, H, W, 3)
float32 RGB in [0, 255], its output {"features": (B, ceil(H / s), ceil(W / s), D), "levelN":
map at stride 2^N, ...}. Normalisation is part of the model.
"""

from __future__ import annotations

import keras

from data_pipelines.errors import UserError
from drsl_tf.common import FEATURES
from drsl_tf.networks.resize_like import ResizeLike
from drsl_tf.networks.weight_files import load_weights

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

# Short schedules: the running statistics must follow within some tens of steps.
BATCH_NORM_MOMENTUM = 0.95


def small_cnn(*, width: int = 32, output_stride: int = 8) -> keras.Model:
    """Builds a small convolutional net for demonstrations on two CPU cores.

    Strided 3x3 convolutions with residual blocks lead to stride 32, where a few plain
    convolutions see the whole of a 128x256 image; the levels from the output stride on are fused.

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
    x = keras.layers.Rescaling(1 / 64.0, offset=-2.0, dtype="float32", name="normalise")(image)
    x = _conv_bn_relu(x, width // 2, strides=2, name="stem")
    levels = {}
    for level, channels in ((2, width), (3, 2 * width), (4, 3 * width), (5, 4 * width)):
        x = _conv_bn_relu(x, channels, strides=2, name=f"down{level}")
        if level > 2:
            y = _conv_bn_relu(x, channels, strides=1, name=f"block{level}a")
            y = _conv_bn_relu(y, channels, strides=1, name=f"block{level}b")
            x = keras.layers.Add(name=f"block{level}_add")([x, y])
        levels[f"level{level}"] = x
    first = {4: 2, 8: 3, 16: 4}[output_stride]
    fused = fuse_levels([levels[f"level{level}"] for level in range(first, 6)], 2 * width)
    return keras.Model(image, {FEATURES: fused, **levels}, name="small_cnn")


def efficientnet_lite0(*, weights=None, feature_dim: int = 128) -> keras.Model:
    """Builds EfficientNet-Lite0 (KerasCV) with its levels fused at stride 8.

    M. Tan, Q. Le, "EfficientNet", ICML 2019, in the Lite variant. It is built without dropout, so
    that training has no hidden random state, and strided convolutions pad so that a map of odd
    size n becomes ceil(n / 2) (at even sizes nothing changes).

    Args:
        weights: None for random weights, or the path of an HDF5 file for
            `keras_cv.models.EfficientNetLiteBackbone` without its rescaling.
        feature_dim: channels D of "features".

    Returns:
        Base with "features" at stride 8 and "level2" ... "level5".

    Raises:
        UserError: the weight file is missing or does not fit.
    """
    import keras_cv  # heavy, and needed by this network alone

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
        name="efficientnet_lite0_trunk",
    )
    if weights is not None:
        load_weights(backbone, weights)
    names = {f"level{n}": backbone.pyramid_level_inputs[f"P{n}"] for n in range(2, 6)}
    # (x / 255 - mean) / std as one multiplication and one addition.
    normalise = keras.layers.Rescaling(
        [1 / (255 * std) for std in IMAGENET_STD],
        offset=[-mean / std for mean, std in zip(IMAGENET_MEAN, IMAGENET_STD)],
        dtype="float32",
        name="normalise",
    )
    return _fuse_trunk(backbone, names, normalise, feature_dim, name="efficientnet_lite0")


def mobilenet_v2(*, weights=None, alpha: float = 1.0, feature_dim: int = 128) -> keras.Model:
    """Builds MobileNetV2 (keras.applications) with its levels fused at stride 8.

    M. Sandler et al., "MobileNetV2", CVPR 2018.

    Args:
        weights: None for random weights, "imagenet" to download them, or the path of an HDF5
            file of the network without its top.
        alpha: width multiplier.
        feature_dim: channels D of "features".

    Returns:
        Base with "features" at stride 8 and "level2" ... "level5".

    Raises:
        UserError: the weights cannot be downloaded, the file is missing or does not fit.
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
    normalise = keras.layers.Rescaling(
        1 / 127.5, offset=-1.0, dtype="float32", name="normalise"
    )
    return _fuse_trunk(backbone, names, normalise, feature_dim, name="mobilenet_v2")


def infer_output_stride(base: keras.Model) -> int:
    """Finds how many input pixels one step of "features" spans.

    Args:
        base: model of this package.

    Returns:
        The stride, a power of two.
    """
    shape = base.compute_output_shape((1, 256, 256, 3))[FEATURES]
    return 256 // int(tuple(shape)[1])


def fuse_levels(levels, feature_dim: int):
    """Fuses feature maps at the size of the first one.

    1x1 convolutions bring all to `feature_dim` channels, bilinear resizing to one size, and their
    sum passes batch norm, ReLU and a depthwise-separable 3x3 refinement.

    Args:
        levels: symbolic maps, finest first.
        feature_dim: channels of the result.

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
    return keras.layers.ReLU(name=FEATURES)(x)


def build_application(factory, name: str, weights, **arguments) -> keras.Model:
    """Builds a network of `keras.applications` without its top, for any image size.

    Args:
        factory: function such as `keras.applications.MobileNetV2`.
        name: network's name in error messages.
        weights: None, "imagenet" or a path.
        **arguments: further arguments of the factory.

    Returns:
        Functional model of the factory's own layers.

    Raises:
        UserError: the weights cannot be downloaded, the file is missing or does not fit.
    """
    arguments = {"include_top": False, "input_shape": (None, None, 3), **arguments}
    if weights == "imagenet":
        try:
            return factory(weights="imagenet", **arguments)
        except Exception as error:  # the download raises bare Exception
            raise UserError(
                f"The ImageNet weights of {name} cannot be downloaded ({error}): fetch the file "
                f"on another machine and give its path as weights, or weights=None."
            ) from error
    backbone = factory(weights=None, **arguments)
    if weights is not None:
        load_weights(backbone, weights)
    return backbone


def _conv_bn_relu(x, filters, *, strides, name):
    """Applies a 3x3 convolution, batch norm and ReLU."""
    x = keras.layers.Conv2D(
        filters, 3, strides=strides, padding="same", use_bias=False,
        kernel_initializer="he_normal", name=f"{name}_conv",
    )(x)
    x = keras.layers.BatchNormalization(momentum=BATCH_NORM_MOMENTUM, name=f"{name}_bn")(x)
    return keras.layers.ReLU(name=f"{name}_relu")(x)


def _fuse_trunk(backbone, level_names, normalise, feature_dim, *, name):
    """Makes a base of a backbone: normalisation, levels by layer name, fusion at stride 8."""
    outputs = {key: backbone.get_layer(layer).output for key, layer in level_names.items()}
    trunk = pad_like_same(keras.Model(backbone.input, outputs, name=f"{name}_trunk"))
    image = keras.Input((None, None, 3), name="image")
    levels = trunk(normalise(image))
    fused = fuse_levels([levels["level3"], levels["level4"], levels["level5"]], feature_dim)
    return keras.Model(image, {FEATURES: fused, **levels}, name=name)


def pad_like_same(model: keras.Model) -> keras.Model:
    """Replaces explicit zero padding before strided convolutions by "same" padding.

    Backbones built for unknown sizes pad (0, 1) before a stride of 2, which is right for even
    sizes and drops the last row of odd ones; "same" padding gives ceil(n / 2) for all n and equals
    it for even n.

    Args:
        model: functional model whose every ZeroPadding2D feeds a "valid" strided convolution.

    Returns:
        A new model with the same weights.
    """

    def clone_layer(layer):
        config = layer.get_config()
        if isinstance(layer, keras.layers.ZeroPadding2D):
            return keras.layers.Activation("linear", name=layer.name)
        if config.get("padding") == "valid" and tuple(config.get("strides", ())) == (2, 2):
            config["padding"] = "same"
        return layer.__class__.from_config(config)

    clone = keras.models.clone_model(model, clone_function=clone_layer)
    clone.set_weights(model.get_weights())
    return clone
