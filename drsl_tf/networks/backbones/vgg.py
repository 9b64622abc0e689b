"""VGG-16 as the base of FCN-8s."""

from __future__ import annotations

import keras

from data_pipelines.errors import UserError
from drsl_tf.common import FEATURES
from drsl_tf.networks.backbones.applications import build_application
from drsl_tf.networks.backbones.preprocessing import normalise_caffe
from drsl_tf.networks.backbones.surgery import pad_like_same
from drsl_tf.networks.layers.fusion import fuse_levels
from drsl_tf.networks.weights.weight_files import fill_layers
from drsl_tf.networks.weights.weight_files import read_layers


def vgg16(
    *,
    weights: str | None = None,
    fc_units: int = 4096,
    dropout: float = 0.0,
    feature_dim: int = 128,
) -> keras.Model:
    """Builds VGG-16 (keras.applications) with its dense layers as convolutions.

    J. Long, E. Shelhamer, T. Darrell, "Fully Convolutional Networks", CVPR 2015: fc6 is a 7x7 and
    fc7 a 1x1 convolution at stride 32. Here they pad to keep the size, where FCN pads the image
    by 100 pixels and crops. `Fcn8sHead` scores level3 (pool3), level4 (pool4) and level5 (fc7);
    "features", the map of the multi-modal head, fuses these three at stride 8 by 1x1
    convolutions, which is this project's choice.

    Args:
        weights: None for random weights, "imagenet" to download them, or the path of an HDF5
            file of VGG-16, with its top (fc6 and fc7 are then filled) or without.
        fc_units: channels of fc6 and fc7; 4096 fits the ImageNet weights.
        dropout: rate after fc6 and fc7; FCN uses 0.5. Above 0, a resumed run is not bit-equal on
            Keras 2.
        feature_dim: channels D of "features".

    Returns:
        Base with "features" (stride 8), "level3", "level4" and "level5".

    Raises:
        UserError: the weights cannot be downloaded, the file is missing or does not fit.
    """
    backbone = build_application(keras.applications.VGG16, "vgg16")
    outputs = {
        "level3": backbone.get_layer("block3_pool").output,
        "level4": backbone.get_layer("block4_pool").output,
        "pool5": backbone.output,
    }
    trunk = pad_like_same(keras.Model(backbone.input, outputs, name="vgg16_trunk"))
    image = keras.Input((None, None, 3), name="image")
    levels = dict(trunk(normalise_caffe(image)))
    dense_layers = [
        keras.layers.Conv2D(fc_units, 7, padding="same", activation="relu", name="fc6"),
        keras.layers.Conv2D(fc_units, 1, activation="relu", name="fc7"),
    ]
    x = levels.pop("pool5")
    for layer in dense_layers:
        x = layer(x)
        if dropout:
            x = keras.layers.Dropout(dropout, name=f"{layer.name}_dropout")(x)
    levels["level5"] = x
    if weights is not None:
        _fill(trunk, dense_layers, weights)
    fused = fuse_levels(list(levels.values()), feature_dim, name=FEATURES)
    return keras.Model(image, {FEATURES: fused, **levels}, name="vgg16")


def _fill(trunk, dense_layers, weights):
    """Loads the convolutions, and fc6 and fc7 where the weights include the network's top."""
    if weights == "imagenet":
        classifier = build_application(
            keras.applications.VGG16, "vgg16", weights, include_top=True, input_shape=None
        )
        saved = [(layer.name, layer.get_weights()) for layer in classifier.layers if layer.weights]
        source = "ImageNet weights"
    else:
        saved = read_layers(weights, "vgg16")
        if saved is None:
            raise UserError(
                f"The weight file {weights!r} of 'vgg16' has another layout than Keras's HDF5 "
                "files: load it with Keras and call model.save('vgg16.h5')."
            )
        source = f"weight file {weights!r}"
    layers = list(trunk.layers)
    if [name for name, _ in saved[13:15]] == ["fc1", "fc2"]:
        layers += dense_layers
        saved = saved[:13] + [
            (name, [_shape_as_convolution(kernel, channels), bias])
            for (name, (kernel, bias)), channels in zip(saved[13:15], (512, None))
        ]
    fill_layers(layers, saved, source, "vgg16")


def _shape_as_convolution(kernel, channels):
    """Reshapes a dense kernel to a convolution's: 7x7 over the given channels, or 1x1."""
    if channels is None:
        return kernel.reshape(1, 1, *kernel.shape)
    return kernel.reshape(7, 7, channels, kernel.shape[1])
