"""Base networks: images in, a dictionary of feature maps out.

The light ones are offered here by name; `resnet`, `vgg` and `mit` have modules of their own.
"""

from drsl_tf.networks.backbones.light import efficientnet_lite0
from drsl_tf.networks.backbones.light import infer_output_stride
from drsl_tf.networks.backbones.light import mobilenet_v2
from drsl_tf.networks.backbones.light import small_cnn

__all__ = ["efficientnet_lite0", "infer_output_stride", "mobilenet_v2", "small_cnn"]
