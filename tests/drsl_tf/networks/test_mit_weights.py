"""Published MiT weights: every array of the checkpoint finds its place, in its layout."""

from __future__ import annotations

import numpy as np
import pytest

from data_pipelines.errors import UserError
from drsl_tf.networks.backbones.mix_transformer import mit

_DIMS, _DEPTHS, _REDUCTIONS = (32, 64, 160, 256), (2, 2, 2, 2), (8, 4, 2, 1)


def _published_shapes():
    """Names and shapes of the MiT-B0 checkpoint of SegFormer."""
    shapes = {}

    def add(name, *shape):
        shapes[f"{name}.weight"] = shape
        shapes[f"{name}.bias"] = shape[:1]

    channels = 3
    for stage, (dim, depth, reduction) in enumerate(zip(_DIMS, _DEPTHS, _REDUCTIONS), start=1):
        kernel = 7 if stage == 1 else 3
        add(f"patch_embed{stage}.proj", dim, channels, kernel, kernel)
        add(f"patch_embed{stage}.norm", dim)
        for index in range(depth):
            block = f"block{stage}.{index}"
            add(f"{block}.norm1", dim)
            add(f"{block}.attn.q", dim, dim)
            add(f"{block}.attn.kv", 2 * dim, dim)
            add(f"{block}.attn.proj", dim, dim)
            if reduction > 1:
                add(f"{block}.attn.sr", dim, dim, reduction, reduction)
                add(f"{block}.attn.norm", dim)
            add(f"{block}.norm2", dim)
            add(f"{block}.mlp.fc1", 4 * dim, dim)
            add(f"{block}.mlp.dwconv.dwconv", 4 * dim, 1, 3, 3)
            add(f"{block}.mlp.fc2", dim, 4 * dim)
        add(f"norm{stage}", dim)
        channels = dim
    add("head", 1000, 256)
    return shapes


@pytest.fixture
def arrays():
    generator = np.random.default_rng(0)
    return {
        name: generator.normal(0, 0.02, shape).astype("float32")
        for name, shape in _published_shapes().items()
    }


def _write(tmp_path, arrays):
    path = str(tmp_path / "mit_b0.npz")
    np.savez(path, **arrays)
    return path


def test_every_array_finds_its_place(tmp_path, arrays):
    trunk = mit(weights=_write(tmp_path, arrays)).get_layer("mit_b0_trunk")
    total = sum(value.size for name, value in arrays.items() if not name.startswith("head."))
    assert trunk.count_params() == total
    ours = np.sort(np.concatenate([w.ravel() for w in trunk.get_weights()]))
    theirs = [value.ravel() for name, value in arrays.items() if not name.startswith("head.")]
    np.testing.assert_array_equal(ours, np.sort(np.concatenate(theirs)))


def test_layouts(tmp_path, arrays):
    """Spot checks by the definition of each layer: y = W x, kernel[out, in, i, j]."""
    trunk = mit(weights=_write(tmp_path, arrays)).get_layer("mit_b0_trunk")
    generator = np.random.default_rng(1)
    block = trunk.get_layer("block2_1")
    x = generator.normal(size=64).astype("float32")
    names = {"attn.q": block.attention.query, "mlp.fc1": block.expand}
    for name, layer in names.items():
        kernel, bias = (arrays[f"block2.1.{name}.{part}"] for part in ("weight", "bias"))
        np.testing.assert_allclose(layer(x[None])[0], kernel @ x + bias, atol=1e-5)
    joint = arrays["block2.1.attn.kv.weight"] @ x + arrays["block2.1.attn.kv.bias"]
    np.testing.assert_allclose(block.attention.key(x[None])[0], joint[:64], atol=1e-5)
    np.testing.assert_allclose(block.attention.value(x[None])[0], joint[64:], atol=1e-5)
    window = generator.normal(size=(1, 4, 4, 64)).astype("float32")
    kernel, bias = (arrays[f"block2.1.attn.sr.{part}"] for part in ("weight", "bias"))
    np.testing.assert_allclose(
        block.attention.reduce(window)[0, 0, 0],
        np.einsum("dcij,ijc->d", kernel, window[0]) + bias,
        atol=1e-4,
    )
    window = generator.normal(size=(1, 3, 3, 256)).astype("float32")
    kernel, bias = (arrays[f"block2.1.mlp.dwconv.dwconv.{part}"] for part in ("weight", "bias"))
    np.testing.assert_allclose(
        block.depthwise(window)[0, 1, 1],
        np.einsum("cij,ijc->c", kernel[:, 0], window[0]) + bias,
        atol=1e-5,
    )


def test_first_layer_that_is_absent_or_of_another_shape_is_named(tmp_path, arrays):
    absent = {key: value for key, value in arrays.items() if "block3.0.attn.kv" not in key}
    with pytest.raises(UserError, match=r"found 'block3.0.attn.kv:0' with shapes \[\]"):
        mit(weights=_write(tmp_path, absent))
    with pytest.raises(UserError, match=r"found 'patch_embed1.proj' with shapes \[\(7"):
        mit(variant="b1", weights=_write(tmp_path, arrays))


def test_first_superfluous_array_is_named(tmp_path, arrays):
    whole = dict(arrays)
    arrays["block1.2.norm1.weight"] = np.zeros(32, "float32")
    with pytest.raises(UserError, match="only the file has is 'block1.2.norm1.weight'"):
        mit(weights=_write(tmp_path, arrays))
    whole["patch_embed2.proj.weight"] = np.zeros((64, 32), "float32")
    with pytest.raises(UserError, match=r"found 'patch_embed2.proj' with shapes \[\]"):
        mit(weights=_write(tmp_path, whole))


def test_missing_and_broken_files(tmp_path, arrays):
    with pytest.raises(UserError, match="does not exist"):
        mit(weights=str(tmp_path / "none.npz"))
    broken = tmp_path / "broken.npz"
    with open(_write(tmp_path, arrays), "rb") as file:
        whole = file.read()
    flipped = whole[:5000] + bytes(255 - byte for byte in whole[5000:5100]) + whole[5100:]
    for content in (b"", b"PK\x03\x04 but no archive", b"no numpy", whole[:-3000], flipped):
        broken.write_bytes(content)
        with pytest.raises(UserError, match="cannot be read as .npz"):
            mit(weights=str(broken))
