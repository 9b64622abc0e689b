"""Mix Transformers: counts, sizes at any aspect ratio, weights, stochastic depth, precision."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from data_pipelines.errors import UserError
from drsl_tf.common import FEATURES
from drsl_tf.networks.backbones.mix_transformer import _VARIANTS
from drsl_tf.networks.backbones.mix_transformer import mit
from tests.support.published_counts import MIT_COUNTS
from tests.support.weight_writer import save_weights


def _image(height, width, *, batch=1):
    return np.random.default_rng(0).uniform(0, 255, (batch, height, width, 3)).astype("float32")


@pytest.fixture(scope="module")
def base():
    return mit(feature_dim=16)


@pytest.mark.parametrize("size", [(64, 128), (128, 64), (65, 97), (33, 20), (5, 9)])
def test_sizes_at_any_aspect_ratio(base, size):
    outputs = base(_image(*size))
    strides = {FEATURES: 8, "level2": 4, "level3": 8, "level4": 16, "level5": 32}
    channels = {FEATURES: 16, "level2": 32, "level3": 64, "level4": 160, "level5": 256}
    for key, stride in strides.items():
        expected = (1, -(-size[0] // stride), -(-size[1] // stride), channels[key])
        assert tuple(outputs[key].shape) == expected, key


def test_turning_the_image_turns_the_features_of_symmetric_kernels(base):
    """Height and width play the same part: with transposed kernels, all maps are transposed."""
    turned = mit(feature_dim=16)
    turned.set_weights([w.transpose(1, 0, 2, 3) if w.ndim == 4 else w for w in base.get_weights()])
    image = _image(48, 80)
    expected = base(image)
    found = turned(image.transpose(0, 2, 1, 3))
    for key in expected:
        np.testing.assert_allclose(
            found[key].numpy().transpose(0, 2, 1, 3), expected[key], atol=1e-3, err_msg=key
        )


@pytest.mark.parametrize("variant", ["b0", "b1"])
def test_parameter_counts_are_the_published_ones(variant):
    trunk = mit(variant=variant).get_layer(f"mit_{variant}_trunk")
    assert trunk.count_params() == MIT_COUNTS[variant]


@pytest.fixture(scope="module")
def b2_trunk():
    return mit(variant="b2").get_layer("mit_b2_trunk")


@pytest.mark.parametrize("variant", ["b2", "b3", "b4", "b5"])
def test_deeper_variants_have_the_published_counts(variant, b2_trunk):
    """Counted from the blocks of B2, which has the same widths: building them takes long."""
    count = b2_trunk.count_params()
    depths = zip(_VARIANTS["b2"][1], _VARIANTS[variant][1])
    for stage, (shallow, deep) in enumerate(depths, start=1):
        count += (deep - shallow) * b2_trunk.get_layer(f"block{stage}_0").count_params()
    assert _VARIANTS[variant][0] == _VARIANTS["b2"][0] and count == MIT_COUNTS[variant]


def test_unknown_variant():
    with pytest.raises(UserError, match="mit.variant is 'b9': use one of b0"):
        mit(variant="b9")


def test_imagenet_weights_come_from_a_file():
    with pytest.raises(UserError, match="none can be downloaded.*mit_b2.pth"):
        mit(variant="b2", weights="imagenet")


def test_config_round_trip(base):
    copy = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(base))
    copy.set_weights(base.get_weights())
    image = _image(33, 50)
    np.testing.assert_array_equal(copy(image)[FEATURES], base(image)[FEATURES])


def test_weight_file_round_trip(base, tmp_path):
    path = str(tmp_path / "mit_b0.h5")
    trunk = base.get_layer("mit_b0_trunk")
    save_weights(trunk, path)
    copy = mit(weights=path).get_layer("mit_b0_trunk")
    for old, new in zip(trunk.get_weights(), copy.get_weights()):
        np.testing.assert_array_equal(old, new)
    with pytest.raises(UserError, match="first layer that does not fit is 'patch_embed1'"):
        mit(variant="b1", weights=path)
    with pytest.raises(UserError, match="does not exist"):
        mit(weights=str(tmp_path / "none.h5"))


def test_stochastic_depth_rises_over_the_blocks_and_rests_in_inference():
    base = mit(drop_path_rate=0.5, feature_dim=16)
    trunk = base.get_layer("mit_b0_trunk")
    rates = [layer.drop_path_rate for layer in trunk.layers if layer.name.startswith("block")]
    np.testing.assert_allclose(rates, np.linspace(0, 0.5, 8))
    image = _image(32, 32, batch=4)
    still = [base(image, training=False)["level5"].numpy() for _ in range(2)]
    np.testing.assert_array_equal(*still)
    assert np.abs(base(image, training=True)["level5"].numpy() - still[0]).max() > 1e-3


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision(precision, policy, base):
    image = _image(33, 50)
    exact = base(image)
    precision(policy)
    half = mit(feature_dim=16)
    half.set_weights(base.get_weights())
    outputs = half(image)
    assert outputs[FEATURES].dtype.name == policy[len("mixed_") :]
    # Normalised levels are of order one.
    difference = np.asarray(outputs["level5"], "float32") - exact["level5"].numpy()
    assert np.abs(difference).mean() < 0.05
