"""Published weights of Mix Transformers, read from arrays under their PyTorch names."""

from __future__ import annotations

import zipfile
import zlib

import keras
import numpy as np

from data_pipelines.errors import UserError
from drsl_tf.networks.layers.mit_block import MitBlock
from drsl_tf.networks.weights.hdf5_check import MAX_BYTES
from drsl_tf.networks.weights.weight_files import check_exists
from drsl_tf.networks.weights.weight_files import fill_layers


def load_published_mit(trunk: keras.Model, path: str) -> None:
    """Loads a MiT trunk from an .npz file of the published checkpoint's arrays.

    The checkpoints of SegFormer (`mit_b0.pth` ... `mit_b5.pth`) are PyTorch files; this line,
    on a machine with PyTorch, converts one to the .npz file and keeps the names:

        numpy.savez("mit_b0.npz", **{k: v.numpy() for k, v in torch.load("mit_b0.pth").items()})

    Args:
        trunk: layer "mit_VARIANT_trunk" of a base.
        path: the .npz file; entries of the classifier ("head.*") are ignored.

    Raises:
        UserError: the file is missing or unreadable, or a layer does not fit; the message names
            the first such layer.
    """
    check_exists(path, trunk.name)
    try:
        if not zipfile.is_zipfile(path):
            raise ValueError("it is not a zip archive")
        with zipfile.ZipFile(path) as archive:
            total = sum(entry.file_size for entry in archive.infolist())
        if total > MAX_BYTES:
            raise ValueError(f"its arrays take {total} bytes, more than the limit of {MAX_BYTES}")
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files if not name.startswith("head.")}
        for name, array in arrays.items():
            if array.dtype.kind != "f":
                raise ValueError(f"its entry {name!r} is no array of numbers")
    except (
        OSError, ValueError, TypeError, EOFError, LookupError, AttributeError, RuntimeError,
        MemoryError, SyntaxError, zipfile.BadZipFile, zlib.error,
    ) as error:  # fmt: skip
        # NumPy raises many exception types on a damaged header.
        raise UserError(
            f"The weight file {path!r} of {trunk.name!r} cannot be read as .npz ({error}): write "
            "it again."
        ) from error
    pairs = _list_layers(trunk)
    saved = [(name, _take(arrays, name, layer)) for name, layer in pairs]
    saved += [(name, [array]) for name, array in arrays.items()]
    fill_layers([layer for _, layer in pairs], saved, f"weight file {path!r}", trunk.name)


def _list_layers(trunk):
    """Lists (published name, layer) of every layer with weights of a trunk."""
    pairs = []
    for layer in trunk.layers:
        if isinstance(layer, MitBlock):
            prefix = layer.name.replace("_", ".")
            attention = layer.attention
            pairs += [
                (f"{prefix}.norm1", layer.norm1),
                (f"{prefix}.attn.q", attention.query),
                (f"{prefix}.attn.kv:0", attention.key),
                (f"{prefix}.attn.kv:1", attention.value),
                (f"{prefix}.attn.proj", attention.project),
                (f"{prefix}.norm2", layer.norm2),
                (f"{prefix}.mlp.fc1", layer.expand),
                (f"{prefix}.mlp.dwconv.dwconv", layer.depthwise),
                (f"{prefix}.mlp.fc2", layer.contract),
            ]
            if attention.reduce is not None:
                pairs.append((f"{prefix}.attn.sr", attention.reduce))
                pairs.append((f"{prefix}.attn.norm", attention.reduce_norm))
        elif layer.name.endswith("_norm"):
            pairs.append((layer.name.replace("_norm", ".norm"), layer))
        elif layer.weights:
            stem = "{}.proj" if layer.name.startswith("patch_embed") else "{}"
            pairs.append((stem.format(layer.name), layer))
    return pairs


def _take(arrays, name, layer):
    """Pops a layer's arrays in Keras's layout; none where they are absent or have no such layout.

    "NAME:0" and "NAME:1" are the halves of a joint key and value projection.
    """
    name, _, half = name.partition(":")
    keys = (f"{name}.weight", f"{name}.bias")
    if any(key not in arrays for key in keys):
        return []
    weight, bias = (arrays[key] if half == "0" else arrays.pop(key) for key in keys)
    if weight.ndim != len(layer.weights[0].shape):
        return []
    if half:
        weight, bias = (np.array_split(value, 2)[int(half)] for value in (weight, bias))
    if isinstance(layer, keras.layers.DepthwiseConv2D):
        weight = np.transpose(weight, (2, 3, 0, 1))  # (C, 1, h, w) to (h, w, C, 1)
    elif isinstance(layer, keras.layers.Conv2D):
        weight = np.transpose(weight, (2, 3, 1, 0))  # (out, in, h, w) to (h, w, in, out)
    elif isinstance(layer, keras.layers.Dense):
        weight = weight.T
    return [weight, bias]
