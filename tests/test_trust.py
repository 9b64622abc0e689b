"""The program takes no code from files that are data: by its source, and by hostile files."""

from __future__ import annotations

import ast
import io
import os
import pickle
import zipfile

import h5py
import keras
import numpy as np
import pytest

from data_pipelines.errors import UserError
from data_pipelines.io import decoding
from drsl_tf.networks.weights import hdf5_check
from drsl_tf.networks.weights import mit_weights
from drsl_tf.networks.weights import weight_files
from tests.support import repository

_PACKAGES = ("data_pipelines", "drsl_tf")

_MODULES = {
    "cloudpickle", "code", "dill", "joblib", "marshal", "pickle", "runpy", "shelve", "tarfile",
    "yaml",
}  # fmt: skip
_NAMES = {"eval", "exec", "compile", "__import__"}
_ATTRIBUTES = {
    "Lambda", "deserialize_keras_object", "enable_unsafe_deserialization", "extractall",
    "import_module", "load_model", "model_from_config", "model_from_json", "popen", "py_function",
    "saved_model.load", "subprocess.Popen", "subprocess.run", "system", "unpack_archive",
}  # fmt: skip
_KEYWORDS = {"allow_pickle": True, "safe_mode": False, "shell": True}

# What is let through, and why.
_ALLOWED = {
    # A gin file is code, docs/security.md says so: what it names is imported and called.
    ("drsl_tf/config/configuration.py", "import_module"),
    # Names come from the table of sections in the module itself.
    ("drsl_tf/config/bindings_page.py", "import_module"),
    # Names come from the table of readers above, never from a file.
    ("data_pipelines/domains/__init__.py", "import_module"),
    # A SavedModel is a program, docs/security.md says so; its checksums are compared before.
    ("drsl_tf/serving/predictor.py", "saved_model.load"),
    # What Keras calls where a user's own code loads a model of theirs, under Keras's safe mode.
    ("drsl_tf/models/model.py", "deserialize_keras_object"),
    ("drsl_tf/models/loading.py", "load_model"),
    # Names come from the tables in the module itself.
    ("drsl_tf/__init__.py", "import_module"),
    ("drsl_tf/optimization/scaled_schedule.py", "deserialize_keras_object"),
    # Starts this very file on the path of a weight file, without a shell.
    ("drsl_tf/networks/weights/hdf5_check.py", "subprocess.run"),
}


def find_unsafe(source: str):
    """Gives the unsafe things that a module does, as (line, what)."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names = [alias.name.split(".")[0] for alias in node.names]
            found += [(node.lineno, name) for name in names if name in _MODULES]
        elif isinstance(node, ast.ImportFrom):
            module = (node.module or "").split(".")[0]
            names = [module, *(alias.name for alias in node.names)]
            unsafe = _MODULES | _NAMES | _ATTRIBUTES
            found += [(node.lineno, name) for name in names if name in unsafe]
        elif isinstance(node, ast.Name) and node.id in _NAMES:
            found.append((node.lineno, node.id))
        elif isinstance(node, ast.Attribute):
            owner = node.value
            outer = getattr(owner, "attr", getattr(owner, "id", ""))
            for name in (node.attr, f"{outer}.{node.attr}"):
                # `re.compile` makes no code.
                if name in _ATTRIBUTES:
                    found.append((node.lineno, name))
        elif isinstance(node, ast.keyword) and node.arg in _KEYWORDS:
            is_safe = isinstance(node.value, ast.Constant) and (
                node.value.value is not _KEYWORDS[node.arg]
            )
            if not is_safe:
                found.append((node.value.lineno, node.arg))
    return found


def _list_modules():
    for package in _PACKAGES:
        for folder, _, names in os.walk(os.path.join(repository.ROOT, package)):
            for name in sorted(names):
                if name.endswith(".py"):
                    path = os.path.join(folder, name)
                    yield os.path.relpath(path, repository.ROOT).replace(os.sep, "/"), path


def test_no_module_takes_code_from_data():
    used, wrong = set(), []
    modules = list(_list_modules())
    assert len(modules) > 100
    for name, path in modules:
        with open(path, encoding="utf-8") as file:
            for line, what in find_unsafe(file.read()):
                if (name, what) in _ALLOWED:
                    used.add((name, what))
                else:
                    wrong.append(f"{name}:{line}: {what}")
    assert not wrong
    assert used == _ALLOWED, "an exception that nothing needs"


@pytest.mark.parametrize(
    "source",
    [
        "import pickle", "from pickle import loads", "import yaml as y", "import torch, dill",
        "eval(text)", "exec(text)", "f = eval", "__import__(name)", "np.load(f, allow_pickle=True)",
        "np.load(f, allow_pickle=flag)", "keras.models.load_model(p)", "layers.Lambda(f)",
        "keras.models.load_model(p, safe_mode=False)", "from keras.models import load_model",
        "subprocess.run(c, shell=True)", "subprocess.Popen(c)", "os.system(c)", "os.popen(c)",
        "from subprocess import run; run(c, shell=True)", "tf.saved_model.load(p)",
        "importlib.import_module(n)", "archive.extractall()", "shutil.unpack_archive(p)",
    ],
)  # fmt: skip
def test_what_is_unsafe_is_found(source):
    assert find_unsafe(source)


@pytest.mark.parametrize(
    "source",
    ["re.compile(p)", "model.compile(o)", "np.load(f)", "np.load(f, allow_pickle=False)",
     "ast.literal_eval(t)", "evaluate(m)", "subprocess.DEVNULL", "json.load(f)"],
)  # fmt: skip
def test_what_is_safe_is_let_through(source):
    assert not find_unsafe(source)


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
    for load in (mit_weights.load_published_mit, weight_files.load_weights):
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
    monkeypatch.setattr(hdf5_check, "_CLOCK_FACTOR", 3)
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
