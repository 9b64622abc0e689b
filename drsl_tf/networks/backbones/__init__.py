"""Base networks: images in, a dictionary of feature maps out.

They are offered here by name, as `drsl_tf.backbones`.
"""

from drsl_tf.networks.backbones.dinov3 import dinov3
from drsl_tf.networks.backbones.hub_pyramid import keras_hub_pyramid
from drsl_tf.networks.backbones.light import efficientnet_lite0
from drsl_tf.networks.backbones.light import mobilenet_v2
from drsl_tf.networks.backbones.light import small_cnn
from drsl_tf.networks.backbones.mix_transformer import mit
from drsl_tf.networks.backbones.resnet import resnet101
from drsl_tf.networks.backbones.vgg import vgg16

__all__ = [
    "dinov3",
    "efficientnet_lite0",
    "keras_hub_pyramid",
    "mit",
    "mobilenet_v2",
    "resnet101",
    "small_cnn",
    "vgg16",
]
