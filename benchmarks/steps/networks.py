"""The networks to measure, built by the functions that configurations bind."""

from __future__ import annotations

_SEGFORMERS = tuple(f"segformer_b{number}" for number in range(6))

TITLES = {
    "deeplab_v2_resnet101": "DeepLab-v2, ResNet-101",
    "fcn8s_vgg16": "FCN-8s, VGG-16",
    "deeplab_v3plus_resnet101": "DeepLab-v3+, ResNet-101",
    **{name: f"SegFormer, MiT-B{name[-1]}" for name in _SEGFORMERS},
    "small_cnn": "small CNN",
    "efficientnet_lite0": "EfficientNet-Lite0",
    "resnet101": "DeepLab-v2, ResNet-101, batch norm trained",
}
"""Titles of the networks in tables, in their order; "resnet101" is that of `torch_step`."""

NAMES = tuple(TITLES)
"""Names of the networks."""


def build_parts(name: str, num_classes: int):
    """Builds a network with random weights.

    Args:
        name: one of `NAMES`.
        num_classes: number of classes C.

    Returns:
        (base, segmentation head).
    """
    from drsl_tf.networks import backbones
    from drsl_tf.networks.backbones.mix_transformer import mit
    from drsl_tf.networks.backbones.resnet import resnet101
    from drsl_tf.networks.backbones.vgg import vgg16
    from drsl_tf.networks.heads.deeplab_v2_head import DeepLabV2Head
    from drsl_tf.networks.heads.deeplab_v3plus_head import DeepLabV3PlusHead
    from drsl_tf.networks.heads.fcn8s_head import Fcn8sHead
    from drsl_tf.networks.heads.linear_head import LinearHead
    from drsl_tf.networks.heads.segformer_head import SegFormerHead

    if name in _SEGFORMERS:
        variant = name[-2:]
        filters = 256 if variant in ("b0", "b1") else 768
        return mit(variant=variant), SegFormerHead(num_classes, filters=filters)
    if name == "resnet101":
        return resnet101(freeze_batch_norm=False), DeepLabV2Head(num_classes)
    if name == "deeplab_v2_resnet101":
        return resnet101(), DeepLabV2Head(num_classes)
    if name == "deeplab_v3plus_resnet101":
        return resnet101(output_stride=16), DeepLabV3PlusHead(num_classes)
    if name == "fcn8s_vgg16":
        return vgg16(), Fcn8sHead(num_classes)
    return getattr(backbones, name)(), LinearHead(num_classes)
