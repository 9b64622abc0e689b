"""Reads the weight files of backbones.

The layout is Keras's HDF5 one (an attribute `layer_names`, one group a layer with an attribute
`weight_names`): published ImageNet files use it, and every Keras line reads it.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import warnings
import zipfile
import zlib
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Sequence

import h5py
import keras
import numpy as np
from absl import logging

from data_pipelines.errors import UserError
from drsl_tf.networks.weights import hdf5_check

_ARCHIVE = ".keras"
_MEMBER = "model.weights.h5"


def load_weights(model: keras.Model, path: str) -> None:
    """Loads a weight file into a model, layer by layer in the model's order.

    Args:
        model: built model whose layers with weights are those of the file, which may also have a
            classification top.
        path: file in Keras's HDF5 layout, or one that `model.save_weights` or `model.save` of the
            running Keras wrote (`.weights.h5`, `.keras`). Of the latter only the weights are read.

    Raises:
        UserError: the file is missing or unreadable, or a layer of it does not fit; the message
            names the first such layer.
    """
    check_exists(path, model.name)
    if path.endswith(_ARCHIVE):
        with _extract_weights(path, model.name) as extracted:
            _load_running_layout(model, extracted, path)
        return
    saved = read_layers(path, model.name)
    if saved is None:
        _load_running_layout(model, path, path)
        return
    layers = [layer for layer in iterate_leaf_layers(model) if layer.weights]
    top = saved[len(layers) :]
    if top and all(values[0].ndim == 2 for _, values in top):  # Dense layers.
        names = ", ".join(name for name, _ in top)
        logging.info("%s: its classification top (%s) is not read.", path, names)
        saved = saved[: len(layers)]
    fill_layers(layers, saved, f"weight file {path!r}", model.name)


def read_layers(path: str, owner: str) -> list[tuple[str, list[np.ndarray]]] | None:
    """Reads a weight file.

    Args:
        path: file in Keras's HDF5 layout.
        owner: name of the network, for error messages.

    Returns:
        List of (layer name, list of arrays) of the layers that have weights, in the file's order;
        None where the file is HDF5 of another layout.

    Raises:
        UserError: the file is missing or unreadable.
    """
    check_exists(path, owner)
    if path.endswith(_ARCHIVE):
        raise UserError(
            f"The weight file {path!r} of {owner!r} is a whole model, and this network reads HDF5: "
            "load it with Keras and call model.save('NAME.h5')."
        )
    try:
        hdf5_check.check_file(path)
        with h5py.File(path, "r") as file:
            root = file["model_weights"] if "model_weights" in file else file
            names = _read_names(root, "layer_names")
            if names is None:
                return None
            layers = []
            for name in names:
                weights = _read_names(root[name], "weight_names")
                if weights:
                    layers.append((name, [np.asarray(root[name][weight]) for weight in weights]))
            return layers
    except (OSError, LookupError, AttributeError, TypeError, ValueError, RuntimeError) as error:
        # h5py raises many exception types on damaged files.
        raise UserError(
            f"The weight file {path!r} of {owner!r} cannot be read as HDF5 ({error}): download "
            "or copy it again."
        ) from error


def check_exists(path: str, owner: str) -> None:
    """Raises a UserError if a weight file is missing.

    Args:
        path: path of the file.
        owner: name of the network, for the message.

    Raises:
        UserError: there is no such file.
    """
    if not os.path.isfile(path):
        raise UserError(
            f"The weight file {path!r} of {owner!r} does not exist: give the path of an existing "
            "file, or weights=None for random weights."
        )


def fill_layers(
    layers: Iterable[keras.layers.Layer],
    saved: Sequence[tuple[str, list[np.ndarray]]],
    source: str,
    owner: str,
) -> None:
    """Sets the weights of layers in order, or none if any does not fit.

    Args:
        layers: built layers; those without weights are ignored.
        saved: list of (layer name, list of arrays) in the same order.
        source: origin of the weights, for error messages.
        owner: name of the network, for error messages.

    Raises:
        UserError: a layer does not fit; the message names the first one.
    """
    layers = [layer for layer in layers if layer.weights]
    for layer, (name, values) in zip(layers, saved):
        expected = [tuple(weight.shape) for weight in layer.weights]
        found = [tuple(value.shape) for value in values]
        if expected != found:
            raise UserError(
                f"The {source} does not fit {owner!r}: the first layer that does not fit is "
                f"{layer.name!r} with shapes {expected}; found {name!r} with shapes "
                f"{found}. Use the weights of this network with these settings."
            )
    if len(layers) != len(saved):
        shared = min(len(layers), len(saved))
        extra, side = (
            (layers[shared].name, "the network")
            if len(layers) > shared
            else (saved[shared][0], "the file")
        )
        raise UserError(
            f"The {source} does not fit {owner!r}: it has {len(saved)} layers with weights, the "
            f"network {len(layers)}; the first layer that only {side} has is {extra!r}. Use the "
            "weights of this network with these settings."
        )
    for layer, (_, values) in zip(layers, saved):
        layer.set_weights(values)


def iterate_leaf_layers(model: keras.Model) -> Iterator[keras.layers.Layer]:
    """Lists the layers of a model in order, those of nested models in the place of these.

    Args:
        model: any.

    Yields:
        Layers that are no models.
    """
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from iterate_leaf_layers(layer)
        else:
            yield layer


def _read_names(group, attribute):
    """Reads a list of names that HDF5's size limit may have split; None if absent."""
    if attribute in group.attrs:
        parts = [group.attrs[attribute]]
    else:
        parts = []
        while f"{attribute}{len(parts)}" in group.attrs:
            parts.append(group.attrs[f"{attribute}{len(parts)}"])
        if not parts:
            return None
    names = [name for part in parts for name in part]
    return [name.decode() if isinstance(name, bytes) else str(name) for name in names]


@contextlib.contextmanager
def _extract_weights(path, owner):
    """Yields the path of a copy of the weights in a `.keras` file; nothing else of it is read."""
    with tempfile.TemporaryDirectory() as folder:
        extracted = os.path.join(folder, _MEMBER)
        try:
            with zipfile.ZipFile(path) as archive:
                size = archive.getinfo(_MEMBER).file_size
                if size > hdf5_check.MAX_BYTES:
                    raise ValueError(f"its weights have {size} bytes")
                with archive.open(_MEMBER) as source, open(extracted, "wb") as target:
                    # No more than the archive declares is ever unpacked.
                    shutil.copyfileobj(source, target)
            hdf5_check.check_file(extracted)
        except (
            OSError, KeyError, ValueError, RuntimeError, EOFError, zipfile.BadZipFile, zlib.error,
        ) as error:  # fmt: skip
            raise UserError(
                f"The weight file {path!r} of {owner!r} cannot be read as a model that Keras saved "
                f"({error}): save or copy it again."
            ) from error
        yield extracted


def _load_running_layout(model, path, named):
    """Loads a file in the layout of Keras's own `save_weights`, called `named` in messages."""
    try:
        # Keras 3 only warns about layers that it cannot find.
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)
            model.load_weights(path)
    except (
        OSError, LookupError, AttributeError, TypeError, ValueError, RuntimeError, UserWarning,
    ) as error:  # fmt: skip
        raise UserError(
            f"The weight file {named!r} does not fit {model.name!r}: {error} Use the file of this "
            "network, written by the same Keras line."
        ) from error
