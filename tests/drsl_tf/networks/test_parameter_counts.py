"""Trainable numbers of whole networks against published ones; the bases' own tests count those.

A published network is taken apart by the shapes of its layers where it holds more than ours.
"""

from __future__ import annotations

import numpy as np
import pytest

from drsl_tf.common import FEATURES
from drsl_tf.networks.backbones.vgg import vgg16
from drsl_tf.networks.heads.deeplab_v2_head import DeepLabV2Head
from drsl_tf.networks.heads.deeplab_v3plus_head import DeepLabV3PlusHead
from drsl_tf.networks.heads.fcn8s_head import Fcn8sHead
from drsl_tf.networks.heads.segformer_head import SegFormerHead
from tests.support.published_counts import MIT_COUNTS

# torchvision's weight documentation: ResNet101_Weights and DeepLabV3_ResNet101_Weights (21
# classes, with an auxiliary head).
_TORCHVISION_RESNET101 = 44_549_160
_TORCHVISION_DEEPLAB_V3 = 60_996_202
_RESNET101_TRUNK = _TORCHVISION_RESNET101 - (2048 * 1000 + 1000)

# keras.applications' documentation of VGG-16, with its top.
_KERAS_VGG16 = 138_357_544

# SegFormer, table 1: millions of parameters of the whole network on ADE20K's 150 classes.
_SEGFORMER_MILLIONS = {"b0": 3.8, "b1": 13.7, "b2": 27.5, "b3": 47.3, "b4": 64.1, "b5": 84.7}


def _count_trainable(head, **channels):
    """Counts a head's trainable numbers on maps of so many channels."""
    head.build({key: (None, None, None, size) for key, size in channels.items()})
    return sum(int(np.prod(variable.shape)) for variable in head.trainable_variables)


def test_deeplab_v2():
    """No count of the head is published: four 3x3 convolutions of 2048 channels with a bias."""
    head = _count_trainable(DeepLabV2Head(19), **{FEATURES: 2048})
    assert head == 4 * (3 * 3 * 2048 * 19 + 19)


def test_deeplab_v3plus():
    """The pyramid is DeepLab-v3's, as torchvision publishes it; the decoder is counted by hand."""

    def count_block(kernel, inputs, outputs):
        return kernel * kernel * inputs * outputs + 2 * outputs  # batch norm: scale and offset

    auxiliary = count_block(3, 1024, 256) + 256 * 21 + 21
    last_layers = count_block(3, 256, 256) + 256 * 21 + 21
    pyramid = _TORCHVISION_DEEPLAB_V3 - _RESNET101_TRUNK - auxiliary - last_layers
    pyramid -= 256  # The pooled image passes a bias here, a scale and an offset there.
    decoder = count_block(1, 256, 48) + count_block(3, 304, 256) + count_block(3, 256, 256)
    decoder += 256 * 19 + 19
    head = _count_trainable(DeepLabV3PlusHead(19), **{FEATURES: 2048, "level2": 256})
    assert head == pyramid + decoder


def test_fcn8s():
    """A score of 21 classes at three levels: a 1x1 convolution with a bias each."""
    head = _count_trainable(Fcn8sHead(21), level5=4096, level4=512, level3=256)
    assert head == (4096 + 512 + 256) * 21 + 3 * 21


@pytest.mark.slow
def test_vgg16_at_its_full_width():
    dim = 8
    fusion = (256 + 512 + 4096) * dim + 9 * dim + dim * dim + 2 * 4 * dim
    assert vgg16(feature_dim=dim).count_params() == _KERAS_VGG16 - (4096 * 1000 + 1000) + fusion


@pytest.mark.parametrize("variant", list(_SEGFORMER_MILLIONS))
def test_segformer(variant):
    narrow = variant in ("b0", "b1")
    widths = (32, 64, 160, 256) if variant == "b0" else (64, 128, 320, 512)
    head = SegFormerHead(150, filters=256 if narrow else 768)
    count = _count_trainable(head, **{f"level{n}": width for n, width in enumerate(widths, 2)})
    assert round((MIT_COUNTS[variant] + count) / 1e6, 1) == _SEGFORMER_MILLIONS[variant]
