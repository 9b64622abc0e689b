"""VGG-16: sizes, counts, its dense layers as convolutions, dropout."""

from __future__ import annotations

import h5py
import keras
import numpy as np
import pytest

from data_pipelines.errors import UserError
from drsl_tf.common import FEATURES
from drsl_tf.networks.backbones.vgg import vgg16
from tests.support.weight_writer import save_weights

_MEAN_BGR = np.array([103.939, 116.779, 123.68], "float32")


def _image(height, width):
    return np.random.default_rng(0).uniform(0, 255, (1, height, width, 3)).astype("float32")


@pytest.fixture(scope="module")
def convolutions():
    keras.utils.set_random_seed(0)
    return keras.applications.VGG16(include_top=False, weights=None, input_shape=(None, None, 3))


@pytest.fixture(scope="module")
def base():
    return vgg16(fc_units=16, feature_dim=8)


@pytest.mark.parametrize("size", [(64, 96), (65, 97), (20, 33)])
def test_sizes(base, size):
    outputs = base(_image(*size))
    strides = {FEATURES: 8, "level3": 8, "level4": 16, "level5": 32}
    channels = {FEATURES: 8, "level3": 256, "level4": 512, "level5": 16}
    for key, stride in strides.items():
        expected = (1, -(-size[0] // stride), -(-size[1] // stride), channels[key])
        assert tuple(outputs[key].shape) == expected, key


def test_parameter_count_is_the_published_one(base):
    assert base.get_layer("vgg16_trunk").count_params() == 14_714_688
    assert base.get_layer("fc6").count_params() == 7 * 7 * 512 * 16 + 16
    assert base.get_layer("fc7").count_params() == 16 * 16 + 16


def test_weights_without_the_top(convolutions, tmp_path):
    path = str(tmp_path / "notop.h5")
    save_weights(convolutions, path)
    base = vgg16(weights=path, fc_units=4, feature_dim=8)
    image = _image(64, 96)
    expected = keras.Model(convolutions.input, convolutions.get_layer("block4_pool").output)(
        image[..., ::-1] - _MEAN_BGR
    ).numpy()
    level4 = base(image)["level4"].numpy()
    np.testing.assert_allclose(level4, expected, atol=1e-5 * np.abs(expected).max())


def _classifier(units):
    """VGG-16 with its top in small; gives it and the part from pool5 to fc2."""
    convolutions = keras.applications.VGG16(
        include_top=False, weights=None, input_shape=(224, 224, 3)
    )
    maps = keras.Input((7, 7, 512))
    x, y = convolutions.output, maps
    layers = [keras.layers.Flatten()]
    layers += [keras.layers.Dense(units, activation="relu", name=name) for name in ("fc1", "fc2")]
    for layer in layers:
        x, y = layer(x), layer(y)
    x = keras.layers.Dense(3, name="predictions")(x)
    return keras.Model(convolutions.input, x), keras.Model(maps, y)


@pytest.mark.parametrize("source", ["file", "imagenet"])
def test_dense_weights_become_convolutions(source, tmp_path, monkeypatch):
    """At the centre of a 7x7 map the 7x7 convolution is the dense layer."""
    classifier, until_fc2 = _classifier(6)
    weights = source
    if source == "file":
        weights = str(tmp_path / "top.h5")
        save_weights(classifier, weights)
    build = keras.applications.VGG16

    def download(*, weights, include_top, **arguments):
        if weights == "imagenet":
            assert include_top
            return classifier
        return build(weights=weights, include_top=include_top, **arguments)

    monkeypatch.setattr(keras.applications, "VGG16", download)
    base = vgg16(weights=weights, fc_units=6, feature_dim=8)
    for old, new in zip(classifier.get_weights(), base.get_layer("vgg16_trunk").get_weights()):
        np.testing.assert_array_equal(old, new)
    maps = np.random.default_rng(0).uniform(size=(1, 7, 7, 512)).astype("float32")
    fc7 = base.get_layer("fc7")(base.get_layer("fc6")(maps)).numpy()
    np.testing.assert_allclose(fc7[:, 3, 3], until_fc2(maps), rtol=1e-4, atol=1e-5)


def test_dense_weights_of_another_width_name_the_layer(tmp_path):
    path = str(tmp_path / "top.h5")
    save_weights(_classifier(6)[0], path)
    with pytest.raises(UserError, match="first layer that does not fit is 'fc6'"):
        vgg16(weights=path, fc_units=8)


def test_a_weight_file_of_another_layout_says_how_to_write_it(tmp_path):
    path = str(tmp_path / "own.weights.h5")
    with h5py.File(path, "w") as file:
        file.create_group("layers")
    with pytest.raises(UserError, match=r"own.weights.h5.*call model.save\('vgg16.h5'\)"):
        vgg16(weights=path, fc_units=4)


def test_missing_weight_file():
    with pytest.raises(UserError, match="nowhere.h5.*does not exist"):
        vgg16(weights="nowhere.h5", fc_units=4)


def test_dropout_acts_in_training_alone():
    keras.utils.set_random_seed(0)
    base = vgg16(fc_units=64, dropout=0.5, feature_dim=8)
    image = _image(32, 32)
    level5 = [base(image, training=False)["level5"].numpy() for _ in range(2)]
    np.testing.assert_array_equal(*level5)
    trained = base(image, training=True)["level5"].numpy()
    assert (trained == 0).mean() > (level5[0] == 0).mean()


def test_config_round_trip(base):
    copy = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(base))
    copy.set_weights(base.get_weights())
    image = _image(33, 50)
    np.testing.assert_array_equal(copy(image)[FEATURES], base(image)[FEATURES])


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision(precision, policy):
    precision(policy)
    features = vgg16(fc_units=4, feature_dim=8)(_image(33, 50))[FEATURES]
    assert features.dtype.name == policy[len("mixed_") :]
    assert np.isfinite(np.asarray(features, "float32")).all()
