"""The program takes no code from files that are data: by its source, and by hostile files."""

from __future__ import annotations

import ast
import io
import os
import pathlib
import pickle
import zipfile

import h5py
import keras
import numpy as np
import pytest

from data_pipelines.errors import UserError
from data_pipelines.io import decoding
from drsl_tf.networks.weights import hdf5_check
from drsl_tf.networks.weights import lite0_weights
from drsl_tf.networks.weights import mit_weights
from drsl_tf.networks.weights import weight_files
from tests.support import repository

_SAFE = {"allow_pickle": False, "safe_mode": True}
"""Arguments that ruff has no rule for, and the only value that each may have."""

_CODE = {"eval", "exec", "compile", "__import__"}


def find_unsafe(source: str):
    """Returns what runs code and is found by no rule of ruff, as (line, what)."""
    found = []
    tree = ast.parse(source)
    # Keras calls an argument `compile`; reading that is no call of the built-in function.
    parameters = {node.arg for node in ast.walk(tree) if isinstance(node, ast.arg)}
    called = {id(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and node.id in _CODE:
            if node.id not in parameters or id(node) in called:
                found.append((node.lineno, node.id))
        elif isinstance(node, ast.keyword) and node.arg in _SAFE:
            if getattr(node.value, "value", None) is not _SAFE[node.arg]:
                found.append((node.value.lineno, node.arg))
    return found


@pytest.mark.parametrize("package", ["data_pipelines", "drsl_tf"])
def test_no_module_takes_code_from_data(package):
    modules = list(pathlib.Path(repository.ROOT, package).rglob("*.py"))
    assert modules
    unsafe = {str(path): find_unsafe(path.read_text("utf-8")) for path in modules}
    assert not {path: found for path, found in unsafe.items() if found}


class _Bomb:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, path):
        self._path = path

    def __reduce__(self):
        return os.mkdir, (self._path,)


@pytest.fixture
def model():
    inputs = keras.Input((8, 8, 4))
    outputs = keras.layers.LayerNormalization(name="norm1_norm")(inputs)
    return keras.Model(inputs, outputs, name="net")


@pytest.mark.parametrize("kind", ["object array", "raw pickle", "pickle in a zip"])
def test_pickles_in_weight_files_are_refused_unread(tmp_path, model, kind):
    path, trap = str(tmp_path / "weights.npz"), str(tmp_path / "unpickled")
    if kind == "object array":
        np.savez(path, **{"norm1.norm.weight": np.array([_Bomb(trap)], object)})
    elif kind == "raw pickle":
        with open(path, "wb") as file:
            pickle.dump(_Bomb(trap), file)
    else:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("norm1.norm.weight", pickle.dumps(_Bomb(trap)))
    loaders = (
        mit_weights.load_published_mit,
        lite0_weights.load_published_lite0,
        weight_files.load_weights,
    )
    for load in loaders:
        with pytest.raises(UserError, match="cannot be read"):
            load(model, path)
    assert not os.path.exists(trap)


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_a_model_with_a_lambda_is_refused_and_never_called(tmp_path, suffix):
    trap = str(tmp_path / "called")

    def spring(x):
        import os as system

        system.makedirs(trap, exist_ok=True)
        return x

    inputs = keras.Input((4,))
    hostile = keras.Model(inputs, keras.layers.Lambda(spring)(inputs), name="net")
    path = str(tmp_path / f"model{suffix}")
    hostile.save(path)
    os.rmdir(trap)
    target = keras.Model(inputs, keras.layers.Dense(3)(inputs), name="net")
    with pytest.raises(UserError):
        weight_files.load_weights(target, path)
    assert not os.path.exists(trap)


def _write_weights(path, change):
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = [b"norm1_norm"]
        group = file.create_group("norm1_norm")
        group.attrs["weight_names"] = [b"gamma", b"beta"]
        for name in ("gamma", "beta"):
            group[name] = np.ones(4, np.float32)
        change(file, group)


def _link_outside(file, group):
    del group["gamma"]
    group["gamma"] = h5py.ExternalLink("secret.h5", "/secret")


def _link_inside(file, group):
    del group["gamma"]
    group["gamma"] = h5py.SoftLink("/norm1_norm/beta")


def _store_outside(file, group):
    del group["gamma"]
    secret = os.path.join(os.path.dirname(file.filename), "secret.bin")
    group.create_dataset("gamma", (4,), np.float32, external=[(secret, 0, 16)])


def _map_outside(file, group):
    del group["gamma"]
    layout = h5py.VirtualLayout((4,), np.float32)
    layout[:] = h5py.VirtualSource("secret.h5", "secret", (4,))
    group.create_virtual_dataset("gamma", layout)


def _promise_much(file, group):
    file.create_dataset("zeros", (2**20, 2**20), np.float32, chunks=(1024, 1024))


def _hold_texts(file, group):
    file["text"] = "x"


@pytest.mark.parametrize(
    "change, words",
    [
        (_link_outside, "is a link"), (_link_inside, "is a link"),
        (_store_outside, "lies in another file"), (_map_outside, "lies in another file"),
        (_promise_much, "more than"), (_hold_texts, "no array of numbers"),
    ],
)  # fmt: skip
def test_weight_files_lead_nowhere_else_and_are_bounded(tmp_path, model, change, words):
    with h5py.File(tmp_path / "secret.h5", "w") as file:
        file["secret"] = np.full(4, 7, np.float32)
    (tmp_path / "secret.bin").write_bytes(np.full(4, 7, np.float32).tobytes())
    path = str(tmp_path / "weights.h5")
    _write_weights(path, lambda file, group: None)
    weight_files.load_weights(model, path)
    _write_weights(path, change)
    with pytest.raises(UserError, match=words):
        weight_files.load_weights(model, path)


def test_an_hdf5_file_on_which_the_library_never_ends_is_refused(tmp_path, monkeypatch):
    path = str(tmp_path / "weights.h5")
    _write_weights(path, lambda file, group: None)
    hdf5_check.check_file(path)
    endless = tmp_path / "endless.py"
    with open(hdf5_check.__file__, encoding="utf-8") as file:
        source = file.read()
    endless.write_text(source.replace("    _read_whole(file)\n", "    while True: pass\n"))
    monkeypatch.setattr(hdf5_check, "__file__", str(endless))
    with pytest.raises(ValueError, match="library fails on it"):
        hdf5_check.check_file(path)
    # As on Windows, which limits no process's own time.
    endless.write_text(endless.read_text().replace("    import resource\n", "    import absent\n"))
    monkeypatch.setattr(hdf5_check, "resource", None)
    monkeypatch.setattr(hdf5_check, "_CLOCK_FACTOR", 1)
    with pytest.raises(ValueError, match="does not come to its end"):
        hdf5_check.check_file(path)


def test_an_archive_that_unpacks_without_end_is_refused(tmp_path, model, monkeypatch):
    path = str(tmp_path / "weights.npz")
    np.savez_compressed(path, **{"norm1.norm.weight": np.zeros(2**20, np.float32)})
    assert os.path.getsize(path) < 10_000
    monkeypatch.setattr(mit_weights, "MAX_BYTES", 2**20)
    with pytest.raises(UserError, match="more than the limit"):
        mit_weights.load_published_mit(model, path)


def test_an_array_that_claims_more_than_it_holds_is_refused(tmp_path, model):
    stream = io.BytesIO()
    np.save(stream, np.zeros(4, np.float32))
    claim = stream.getvalue().replace(b"(4,), }          ", b"(99999999999,), }")
    assert claim != stream.getvalue()
    path = str(tmp_path / "weights.npz")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("norm1.norm.weight.npy", claim)
    with pytest.raises(UserError, match="cannot be read"):
        mit_weights.load_published_mit(model, path)


def test_pillow_opens_only_the_formats_that_readers_list(tmp_path):
    """PostScript, which Pillow hands to another program, is refused by its name already."""
    for data in (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", b"GIF89a" + bytes(40)):
        with pytest.raises(UserError, match="is not a picture"):
            decoding.decode_rgb(data)
