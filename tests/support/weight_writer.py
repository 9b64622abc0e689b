"""Writes weight files as published ones are."""

from __future__ import annotations

import h5py
import keras

from drsl_tf.networks.weights.weight_files import iterate_leaf_layers


def save_weights(model: keras.Model, path: str) -> None:
    """Writes a model's weights in the layout that both lines of Keras read."""
    layers = [layer for layer in iterate_leaf_layers(model) if layer.weights]
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = [layer.name.encode() for layer in layers]
        for layer in layers:
            group = file.create_group(layer.name)
            names = [f"weight_{index}" for index in range(len(layer.weights))]
            group.attrs["weight_names"] = [name.encode() for name in names]
            for name, value in zip(names, layer.get_weights()):
                group.create_dataset(name, data=value)
