"""Light bases: sizes, counts, padding, weights, determinism and precision."""

from __future__ import annotations

import sys

import keras
import numpy as np
import pytest

from data_pipelines.errors import UserError
from drsl_tf.common import FEATURES
from drsl_tf.networks import backbones
from tests.support.weight_writer import save_weights


def _image(height, width, *, batch=1, seed=0):
    generator = np.random.default_rng(seed)
    return generator.uniform(0, 255, (batch, height, width, 3)).astype("float32")


@pytest.fixture(scope="module")
def bases():
    return {
        "small_cnn": backbones.small_cnn(),
        "efficientnet_lite0": backbones.efficientnet_lite0(feature_dim=32),
        "mobilenet_v2": backbones.mobilenet_v2(alpha=0.35, feature_dim=32),
    }


@pytest.mark.parametrize("name", ["small_cnn", "efficientnet_lite0", "mobilenet_v2"])
@pytest.mark.parametrize("size", [(64, 96), (65, 97), (31, 50), (9, 7)])
def test_levels_have_ceiled_sizes(bases, name, size):
    outputs = bases[name](_image(*size))
    assert {FEATURES, "level2", "level5"} <= outputs.keys()
    for key, value in outputs.items():
        stride = 8 if key == FEATURES else 2 ** int(key[len("level") :])
        assert tuple(value.shape[1:3]) == tuple(-(-side // stride) for side in size), key
        assert np.isfinite(value.numpy()).all()


@pytest.mark.parametrize("stride", [4, 8, 16])
def test_small_cnn_at_other_strides(stride):
    base = backbones.small_cnn(width=8, output_stride=stride)
    assert tuple(base(_image(33, 50))[FEATURES].shape[1:3]) == (-(-33 // stride), -(-50 // stride))


def test_small_cnn_refuses_other_strides():
    with pytest.raises(UserError, match="output_stride is 32"):
        backbones.small_cnn(output_stride=32)


@pytest.mark.parametrize("name", ["small_cnn", "efficientnet_lite0", "mobilenet_v2"])
def test_config_round_trip(bases, name):
    base = bases[name]
    copy = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(base))
    assert [tuple(w.shape) for w in copy.weights] == [tuple(w.shape) for w in base.weights]
    copy.set_weights(base.get_weights())
    image = _image(33, 50)
    np.testing.assert_array_equal(copy(image)[FEATURES], base(image)[FEATURES])


@pytest.mark.parametrize("name", ["small_cnn", "efficientnet_lite0", "mobilenet_v2"])
def test_training_pass_has_no_random_layer(bases, name):
    """Two training passes from the same weights agree bit for bit."""
    base = bases[name]
    start = base.get_weights()
    image = _image(64, 64, batch=2)
    first = base(image, training=True)[FEATURES].numpy()
    base.set_weights(start)
    second = base(image, training=True)[FEATURES].numpy()
    base.set_weights(start)
    np.testing.assert_array_equal(first, second)


def _calibrate_batch_norm(trunk, model, image):
    """Sets a trunk's batch norm statistics to this image's: random maps would vanish."""
    layers = [x for x in trunk.layers if isinstance(x, keras.layers.BatchNormalization)]
    momenta = [layer.momentum for layer in layers]
    for layer in layers:
        layer.momentum = 0.0
    model(image, training=True)
    for layer, momentum in zip(layers, momenta):
        layer.momentum = momentum


@pytest.mark.parametrize("output_stride", [8, 16])
def test_dilated_mobilenet_subsampled_is_the_strided_one(bases, output_stride):
    """The light base of DeepLab-v3+."""
    strided = bases["mobilenet_v2"]
    # Sizes 2^n + 1 stay odd at every level: "same" padding is symmetric, so grids align.
    image = _image(65, 97)
    _calibrate_batch_norm(strided.layers[2], strided, image)
    dense = backbones.mobilenet_v2(alpha=0.35, output_stride=output_stride)
    dense.set_weights(strided.layers[2].get_weights())
    step = 32 // output_stride
    expected = strided(image)["level5"].numpy()
    features = dense(image)[FEATURES].numpy()
    assert features.shape[1:3] == (64 // output_stride + 1, 96 // output_stride + 1)
    np.testing.assert_allclose(features[:, ::step, ::step], expected, rtol=1e-3, atol=1e-4)
    assert expected.std() > 0.1


def test_features_see_far(bases):
    """A change in one corner of a 64x96 image reaches features half an image away."""
    image = _image(64, 96)
    changed = image.copy()
    changed[:, :8, :8] = 0
    base = bases["small_cnn"]
    difference = np.abs(base(image)[FEATURES].numpy() - base(changed)[FEATURES].numpy())
    assert difference[0, 4, 6].max() > 0


def test_parameter_counts_are_the_published_ones(bases):
    lite0 = bases["efficientnet_lite0"].get_layer("efficientnet_lite0_trunk")
    # 4,652,008 of the classifier less its last layer of 1,280 x 1,000 and the 1,000 biases,
    # plus the two running statistics of each batch norm channel.
    statistics = sum(
        2 * layer.gamma.shape[0]
        for layer in lite0.layers
        if isinstance(layer, keras.layers.BatchNormalization)
    )
    assert lite0.count_params() - statistics == 4_652_008 - 1_281_000
    mobilenet = keras.applications.MobileNetV2(
        include_top=False, weights=None, alpha=0.35, input_shape=(None, None, 3)
    )
    extra = bases["mobilenet_v2"].count_params() - mobilenet.count_params()
    # What the fusion adds to the expansions of blocks 6 and 13 and to the last map.
    dim = 32
    assert extra == (96 + 192 + 1280) * dim + dim * 9 + dim * dim + 2 * 4 * dim


def test_lite0_equals_kerascv_at_even_sizes():
    keras_cv = pytest.importorskip("keras_cv")
    base = backbones.efficientnet_lite0(feature_dim=8)
    trunk = base.get_layer("efficientnet_lite0_trunk")
    reference = keras_cv.models.EfficientNetLiteBackbone(
        stackwise_kernel_sizes=[3, 3, 5, 3, 5, 5, 3],
        stackwise_num_repeats=[1, 2, 2, 3, 3, 4, 1],
        stackwise_input_filters=[32, 16, 24, 40, 80, 112, 192],
        stackwise_output_filters=[16, 24, 40, 80, 112, 192, 320],
        stackwise_expansion_ratios=[1, 6, 6, 6, 6, 6, 6],
        stackwise_strides=[1, 2, 2, 2, 1, 2, 1],
        width_coefficient=1.0,
        depth_coefficient=1.0,
        include_rescaling=False,
    )
    reference.set_weights(trunk.get_weights())
    image = _image(64, 96)
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    expected = reference(((image / 255 - mean) / std).astype("float32"))
    np.testing.assert_allclose(base(image)["level5"], expected, rtol=1e-4, atol=1e-4)


def test_missing_weight_file_is_a_user_error():
    with pytest.raises(UserError, match="nowhere.h5.*does not exist"):
        backbones.efficientnet_lite0(weights="nowhere.h5")


def test_mismatching_weight_file_names_the_layer(tmp_path):
    other = keras.applications.MobileNetV2(
        include_top=False, weights=None, alpha=0.5, input_shape=(None, None, 3)
    )
    path = str(tmp_path / "half.h5")
    save_weights(other, path)
    with pytest.raises(UserError, match="first layer that does not fit is 'Conv1'"):
        backbones.mobilenet_v2(weights=path)
    loaded = backbones.mobilenet_v2(weights=path, alpha=0.5, feature_dim=8)
    values = {w.shape: w for w in loaded.get_weights()}
    kernel = other.get_layer("Conv_1").get_weights()[0]
    np.testing.assert_array_equal(values[kernel.shape], kernel)


def test_failed_download_is_a_user_error(monkeypatch):
    def fail(**_):
        raise Exception("URL fetch failure")

    monkeypatch.setattr(keras.applications, "MobileNetV2", fail)
    with pytest.raises(UserError, match="cannot be fetched.*URL fetch failure"):
        backbones.mobilenet_v2(weights="imagenet")


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision_normalises_in_float32(precision, policy):
    precision(policy)
    base = backbones.small_cnn(width=8)
    assert base.get_layer("normalise").compute_dtype == "float32"
    features = base(_image(33, 50))[FEATURES]
    assert features.dtype.name == policy[len("mixed_") :]
    assert np.isfinite(np.asarray(features, "float32")).all()


def test_saved_model_file_round_trip(tmp_path):
    base = backbones.small_cnn(width=8)
    path = str(tmp_path / "base.keras")
    base.save(path)
    image = _image(33, 50)
    copy = keras.models.load_model(path)
    np.testing.assert_allclose(copy(image)[FEATURES], base(image)[FEATURES], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    "build",
    [backbones.dinov3, lambda: backbones.keras_hub_pyramid(backbone="ResNetBackbone")],
    ids=["dinov3", "keras_hub_pyramid"],
)
def test_networks_of_keras_hub_name_their_extra(monkeypatch, build):
    monkeypatch.setitem(sys.modules, "keras_hub", None)
    with pytest.raises(UserError, match=r"newer dependency line.*drsl_tf\[vfm\]"):
        build()
