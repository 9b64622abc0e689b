"""DINOv3 vision transformers of KerasHub."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

import keras

from data_pipelines.errors import UserError
from drsl_tf.common import FEATURES
from drsl_tf.networks.backbones.hub import build_hub_backbone
from drsl_tf.networks.backbones.hub import choose_normalisation
from drsl_tf.networks.backbones.preprocessing import normalise_torch
from drsl_tf.networks.layers.dinov3_encoder import Dinov3Encoder
from drsl_tf.networks.layers.fusion import fuse_levels
from drsl_tf.networks.layers.image_grid import DEFAULT_MULTIPLE
from drsl_tf.networks.layers.image_grid import CropToGrid
from drsl_tf.networks.layers.image_grid import PadToMultiple
from drsl_tf.networks.weights.weight_files import load_weights

_PATCH = 16
# Width, number of blocks, heads and width of the MLP (DINOv3, table 2).
_VARIANTS = {
    "small": (384, 12, 6, 1536),
    "base": (768, 12, 12, 3072),
    "large": (1024, 24, 16, 4096),
}
# Not arguments of the architecture.
_OWN = ("name", "trainable", "dtype", "image_shape")


def dinov3(
    *,
    variant: str = "large",
    arguments: Mapping[str, Any] | None = None,
    preset: str | None = None,
    weights: str | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    feature_dim: int = 128,
) -> keras.Model:
    """Builds a DINOv3 vision transformer of KerasHub, with patches of 16, for images of any size.

    O. Siméoni et al., "DINOv3", 2025. It needs the newer dependency line and the extra `vfm`.
    Images are padded with the colour that normalisation maps to 0, to a multiple of 32. Levels are
    made from the last map of tokens alone, as by the simple feature pyramid of ViTDet (Y. Li et
    al., ECCV 2022): transposed 2x2 convolutions to strides 4 and 8, max pooling to stride 32;
    ViTDet's convolutions to a common width are left to the heads. "features", the map of the
    multi-modal head, fuses level3 to level5 by 1x1 convolutions. Both are this project's choice.

    Args:
        variant: "small", "base" or "large", the published ViT-S, ViT-B and ViT-L.
        arguments: arguments of `keras_hub.models.DINOV3Backbone` that differ from the variant, or
            from the preset. Leave `drop_path_rate` at 0: KerasHub's layer drops no path.
        preset: name of a KerasHub preset, or the directory of one, with architecture and weights,
            in the place of the variant. A run reads it whenever its model is built, for its export
            too.
        weights: None for random weights or those of the preset, or the path of an HDF5 file that
            `save_weights` of a `DINOV3Backbone` wrote.
        mean: mean of the images that the weights were trained on, in [0, 1]; None is the preset's,
            or ImageNet's without a preset.
        std: their standard deviation, as `mean`.
        feature_dim: channels D of "features".

    Returns:
        Base with "features" (stride 8), "level2" ... "level5" (strides 4 to 32), of which level4 is
        the map of tokens.

    Raises:
        UserError: unknown variant; KerasHub is absent; its arguments are invalid, or the preset or
            the weight file cannot be read or does not fit.
    """
    if variant not in _VARIANTS:
        raise UserError(f"dinov3.variant is {variant!r}: use one of {', '.join(_VARIANTS)}.")
    arguments = {"image_shape": (_PATCH, _PATCH, 3), **(arguments or {})}
    if preset is None:
        arguments = {**_describe(variant), **arguments}
    network = build_hub_backbone("DINOV3Backbone", arguments, preset)
    if network.patch_size != _PATCH:
        raise UserError(f"dinov3 has patches of {network.patch_size}: only {_PATCH} is supported.")
    if weights is not None:
        load_weights(network, weights)
    config = {key: value for key, value in network.get_config().items() if key not in _OWN}
    encoder = Dinov3Encoder(config, name="encoder")
    encoder.backbone.set_weights(network.get_weights())

    image = keras.Input((None, None, 3), name="image")
    normalised = normalise_torch(image, *choose_normalisation(preset, mean, std))
    tokens = encoder(PadToMultiple(DEFAULT_MULTIPLE, name="pad")(normalised))
    levels = {
        f"level{level}": CropToGrid(2**level, name=f"level{level}_crop")([x, image])
        for level, x in enumerate(_build_pyramid(tokens, network.hidden_dim), start=2)
    }
    fused = fuse_levels(
        [levels["level3"], levels["level4"], levels["level5"]], feature_dim, name=FEATURES
    )
    return keras.Model(image, {FEATURES: fused, **levels}, name="dinov3")


def _describe(variant):
    """Returns the arguments of KerasHub's class for a published network."""
    width, blocks, heads, mlp_width = _VARIANTS[variant]
    return {
        "patch_size": _PATCH,
        "num_layers": blocks,
        "hidden_dim": width,
        "num_heads": heads,
        "intermediate_dim": mlp_width,
        "use_key_bias": False,
    }


def _build_pyramid(tokens, width):
    """Returns the maps at strides 4 to 32 of a map of tokens at stride 16."""
    x = keras.layers.Conv2DTranspose(width // 2, 2, strides=2, name="neck_up2a")(tokens)
    x = keras.layers.LayerNormalization(epsilon=1e-6, name="neck_norm")(x)
    x = keras.layers.Activation("gelu", name="neck_gelu")(x)
    level2 = keras.layers.Conv2DTranspose(width // 4, 2, strides=2, name="neck_up2b")(x)
    level3 = keras.layers.Conv2DTranspose(width // 2, 2, strides=2, name="neck_up3")(tokens)
    return level2, level3, tokens, keras.layers.MaxPooling2D(2, name="neck_down5")(tokens)
