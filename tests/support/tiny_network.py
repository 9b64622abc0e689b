"""A base network of two convolutions, which a test traces in a fraction of small_cnn's time."""

import keras

from drsl_tf.common import FEATURES
from drsl_tf.networks.backbones.light import conv_bn_relu
from drsl_tf.networks.backbones.preprocessing import normalise_signed


def tiny_base(*, width=8):
    """Builds a base network with batch norm and "features" at stride 8, as small_cnn has them.

    Args:
        width: channels at stride 4; twice as many at stride 8.

    Returns:
        Base with "features" (D = 2 * width) and "level2".
    """
    image = keras.Input((None, None, 3), name="image")
    x = normalise_signed(image)
    x = conv_bn_relu(x, width, strides=4, kernel_size=7, name="level2")
    features = conv_bn_relu(x, 2 * width, strides=2, name="level3")
    return keras.Model(image, {FEATURES: features, "level2": x}, name="tiny_base")
