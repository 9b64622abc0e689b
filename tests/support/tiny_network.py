"""A base network of two convolutions, which a test traces in a fraction of small_cnn's time."""

import keras

from drsl_tf.common import FEATURES
from drsl_tf.networks.backbones.preprocessing import normalise_signed
from drsl_tf.networks.layers.fusion import BATCH_NORM_MOMENTUM


def tiny_base(*, width=8):
    """Builds a base network with batch norm and "features" at stride 8, as small_cnn has them.

    Args:
        width: channels at stride 4; twice as many at stride 8.

    Returns:
        Base with "features" (D = 2 * width) and "level2".
    """
    image = keras.Input((None, None, 3), name="image")
    x = _conv_bn_relu(normalise_signed(image), width, strides=4, name="level2")
    features = _conv_bn_relu(x, 2 * width, strides=2, name="level3")
    return keras.Model(image, {FEATURES: features, "level2": x}, name="tiny_base")


def _conv_bn_relu(x, filters, *, strides, name):
    x = keras.layers.Conv2D(
        filters,
        2 * strides - 1,
        strides=strides,
        padding="same",
        use_bias=False,
        kernel_initializer="he_normal",
        name=f"{name}_conv",
    )(x)
    x = keras.layers.BatchNormalization(momentum=BATCH_NORM_MOMENTUM, name=f"{name}_bn")(x)
    return keras.layers.ReLU(name=f"{name}_relu")(x)
