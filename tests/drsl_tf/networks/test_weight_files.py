"""Weight files: what is written is read, and errors name the layer."""

from __future__ import annotations

import os
import zipfile

import h5py
import keras
import numpy as np
import pytest

from data_pipelines.errors import UserError
from drsl_tf.networks.weights import hdf5_check
from drsl_tf.networks.weights.weight_files import load_weights
from drsl_tf.networks.weights.weight_files import read_layers
from tests.support.weight_writer import save_weights


def _network(units=(4, 6), name="net"):
    x = image = keras.Input((8,))
    for index, size in enumerate(units):
        x = keras.layers.Dense(size, name=f"dense{index}")(x)
        x = keras.layers.BatchNormalization(name=f"norm{index}")(x)
    return keras.Model(image, x, name=name)


def _assert_equal(first, second):
    for old, new in zip(first.get_weights(), second.get_weights()):
        np.testing.assert_array_equal(old, new)


def test_round_trip(tmp_path):
    path = str(tmp_path / "net.h5")
    source, target = _network(), _network()
    save_weights(source, path)
    load_weights(target, path)
    _assert_equal(source, target)
    assert os.listdir(tmp_path) == ["net.h5"]
    assert [name for name, _ in read_layers(path, "net")] == ["dense0", "norm0", "dense1", "norm1"]


def test_layers_of_nested_models_lie_in_their_place(tmp_path):
    def make_outer():
        image = keras.Input((8,))
        inner = _network(name="inner")
        return keras.Model(image, keras.layers.Dense(2, name="last")(inner(image)))

    outer, copy = make_outer(), make_outer()
    path = str(tmp_path / "net.h5")
    save_weights(outer, path)
    names = [name for name, _ in read_layers(path, "outer")]
    assert names == ["dense0", "norm0", "dense1", "norm1", "last"]
    load_weights(copy, path)
    _assert_equal(outer, copy)


@pytest.mark.parametrize("file_name", ["net.weights.h5", "net.h5", "net.keras"])
def test_files_of_the_running_keras_are_read(tmp_path, file_name):
    source, target = _network(), _network()
    path = str(tmp_path / file_name)
    if file_name == "net.weights.h5":
        source.save_weights(path)
    else:
        source.save(path)  # the whole model; in HDF5 with the weights under "model_weights"
    load_weights(target, path)
    _assert_equal(source, target)


def test_names_split_by_the_size_limit_of_hdf5_are_joined(tmp_path):
    path = str(tmp_path / "net.h5")
    source, target = _network(), _network()
    save_weights(source, path)
    with h5py.File(path, "r+") as file:
        names = list(file.attrs["layer_names"])
        del file.attrs["layer_names"]
        file.attrs["layer_names0"], file.attrs["layer_names1"] = names[:3], names[3:]
    load_weights(target, path)
    _assert_equal(source, target)


def test_missing_file(tmp_path):
    with pytest.raises(UserError, match="none.h5.*does not exist"):
        load_weights(_network(), str(tmp_path / "none.h5"))


@pytest.mark.parametrize("keep", [0, 100, 1500])
def test_truncated_file(tmp_path, keep):
    path = tmp_path / "net.h5"
    save_weights(_network(), str(path))
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(UserError, match="cannot be read as HDF5"):
        load_weights(_network(), str(path))


def test_first_layer_of_another_shape_is_named_and_nothing_is_set(tmp_path):
    path = str(tmp_path / "net.h5")
    save_weights(_network((4, 7)), path)
    target = _network((4, 6))
    before = target.get_weights()
    with pytest.raises(UserError, match="first layer that does not fit is 'dense1'"):
        load_weights(target, path)
    for old, new in zip(before, target.get_weights()):
        np.testing.assert_array_equal(old, new)


def test_first_missing_and_first_superfluous_layer_are_named(tmp_path):
    path = str(tmp_path / "net.h5")
    save_weights(_network((4,)), path)
    with pytest.raises(UserError, match="only the network has is 'dense1'"):
        load_weights(_network((4, 6)), path)
    save_weights(_network((4, 6)), path)
    with pytest.raises(UserError, match="only the file has is 'dense1'"):
        load_weights(_network((4,)), path)


def test_mismatch_in_the_layout_of_the_running_keras(tmp_path):
    path = str(tmp_path / "net.weights.h5")
    _network((4, 7)).save_weights(path)
    with pytest.raises(UserError, match="does not fit 'net'"):
        load_weights(_network((4, 6)), path)


@pytest.mark.parametrize("file_name", ["net.h5", "net.keras", "net.weights.h5"])
def test_a_classification_top_is_not_read(tmp_path, file_name):
    source, target = _network(), _network()
    whole = keras.Model(source.input, keras.layers.Dense(3, name="predictions")(source.output))
    path = str(tmp_path / file_name)
    (whole.save_weights if file_name == "net.weights.h5" else whole.save)(path)
    load_weights(target, path)
    _assert_equal(source, target)


def test_a_model_that_does_not_fit_names_its_own_file(tmp_path):
    path = str(tmp_path / "net.keras")
    _network(units=(4, 7)).save(path)
    with pytest.raises(UserError, match=r"net\.keras' does not fit 'net'"):
        load_weights(_network(), path)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"no archive"])
def test_a_damaged_archive(tmp_path, content):
    path = tmp_path / "net.keras"
    path.write_bytes(content)
    with pytest.raises(UserError, match="cannot be read as a model that Keras saved"):
        load_weights(_network(), str(path))


def test_an_archive_without_weights_or_with_too_many_is_refused(tmp_path, monkeypatch):
    path = str(tmp_path / "net.keras")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", "{}")
    with pytest.raises(UserError, match="model.weights.h5"):
        load_weights(_network(), path)
    with pytest.raises(UserError, match="'net' is a whole model"):
        read_layers(path, "net")
    _network().save(path)
    monkeypatch.setattr(hdf5_check, "MAX_BYTES", 100)
    with pytest.raises(UserError, match="its weights have .* bytes"):
        load_weights(_network(), path)
