"""Mix Transformers, the bases of SegFormer."""

from __future__ import annotations

import os

import keras
import numpy as np

from data_pipelines.errors import UserError
from drsl_tf.common import FEATURES
from drsl_tf.networks.backbones.preprocessing import normalise_torch
from drsl_tf.networks.layers.fusion import fuse_levels
from drsl_tf.networks.layers.mit_block import MitBlock
from drsl_tf.networks.weights.mit_weights import load_published_mit
from drsl_tf.networks.weights.weight_files import load_weights

# Channels and number of blocks of the four stages (SegFormer, table 6).
_VARIANTS = {
    "b0": ((32, 64, 160, 256), (2, 2, 2, 2)),
    "b1": ((64, 128, 320, 512), (2, 2, 2, 2)),
    "b2": ((64, 128, 320, 512), (3, 4, 6, 3)),
    "b3": ((64, 128, 320, 512), (3, 4, 18, 3)),
    "b4": ((64, 128, 320, 512), (3, 8, 27, 3)),
    "b5": ((64, 128, 320, 512), (3, 6, 40, 3)),
}
_HEADS = (1, 2, 5, 8)
_REDUCTIONS = (8, 4, 2, 1)


def mit(
    *,
    variant: str = "b0",
    weights: str | None = None,
    drop_path_rate: float = 0.0,
    feature_dim: int = 128,
) -> keras.Model:
    """Builds a Mix Transformer for images of any height and width.

    E. Xie et al., "SegFormer", NeurIPS 2021. `SegFormerHead` reads level2 to level5; "features",
    the map of the multi-modal head, fuses level3 to level5 at stride 8 by 1x1 convolutions, which
    is this project's choice.

    Args:
        variant: "b0" ... "b5".
        weights: None for random weights; a path ending in .npz with the arrays of a published
            PyTorch checkpoint under their own names (see `load_published_mit`); or the path of an
            HDF5 file written by `save_weights` for the layer "mit_VARIANT_trunk".
        drop_path_rate: stochastic depth of the last block, rising from 0 over the blocks;
            SegFormer uses 0.1. Above 0, a resumed run is not bit-equal on Keras 2.
        feature_dim: channels D of "features".

    Returns:
        Base with "features" (stride 8) and "level2" ... "level5" (strides 4 to 32).

    Raises:
        UserError: unknown variant; the weight file is missing or does not fit.
    """
    if variant not in _VARIANTS:
        raise UserError(f"mit.variant is {variant!r}: use one of {', '.join(_VARIANTS)}.")
    if weights is not None and not os.path.isfile(weights):
        raise UserError(
            f"The weight file {weights!r} of 'mit_{variant}' does not exist, and none can be "
            f"downloaded from here. SegFormer's authors publish mit_{variant}.pth; docs/recipes.md "
            "has the line that converts it to an .npz file. Give that file's path as weights, or "
            "None for random weights."
        )
    trunk = _build_trunk(variant, drop_path_rate)
    if weights is not None and weights.endswith(".npz"):
        load_published_mit(trunk, weights)
    elif weights is not None:
        load_weights(trunk, weights)
    image = keras.Input((None, None, 3), name="image")
    levels = trunk(normalise_torch(image))
    fused = fuse_levels(
        [levels["level3"], levels["level4"], levels["level5"]], feature_dim, name=FEATURES
    )
    return keras.Model(image, {FEATURES: fused, **levels}, name=f"mit_{variant}")


def _build_trunk(variant, drop_path_rate):
    """Builds the four stages on a normalised image."""
    dims, depths = _VARIANTS[variant]
    drop_path_rates = iter(np.linspace(0.0, drop_path_rate, sum(depths)).tolist())
    image = keras.Input((None, None, 3), name="normalised_image")
    x = image
    levels = {}
    for stage, (dim, depth) in enumerate(zip(dims, depths), start=1):
        kernel, stride = (7, 4) if stage == 1 else (3, 2)
        x = keras.layers.ZeroPadding2D(kernel // 2, name=f"patch_embed{stage}_pad")(x)
        x = keras.layers.Conv2D(dim, kernel, strides=stride, name=f"patch_embed{stage}")(x)
        x = keras.layers.LayerNormalization(epsilon=1e-5, name=f"patch_embed{stage}_norm")(x)
        for index in range(depth):
            x = MitBlock(
                dim,
                _HEADS[stage - 1],
                _REDUCTIONS[stage - 1],
                next(drop_path_rates),
                name=f"block{stage}_{index}",
            )(x)
        x = keras.layers.LayerNormalization(epsilon=1e-6, name=f"norm{stage}")(x)
        levels[f"level{stage + 1}"] = x
    return keras.Model(image, levels, name=f"mit_{variant}_trunk")
