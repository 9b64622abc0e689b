"""Batch statistics of the target: what they are, what they leave alone, and that they repeat."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from data_pipelines.domains.camvid import CamVid
from data_pipelines.errors import UserError
from drsl_tf.self_training import target_statistics
from drsl_tf.self_training.target_statistics import TargetStatistics
from tests.drsl_tf import toys


@pytest.fixture(name="domain")
def _domain(tmp_path):
    rng = np.random.default_rng(0)
    folder = tmp_path / "images" / "train"
    folder.mkdir(parents=True)
    for index in range(7):
        pixels = rng.integers(0, 40 + 30 * index, (32, 64, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{index}.png")
    return CamVid(root=str(tmp_path))


def _update(model, domain, statistics):
    statistics.update(model, tf.distribute.get_strategy(), domain, domain.list_pairs("train"))


def _read(model):
    return {
        layer.name: (np.array(layer.moving_mean), np.array(layer.moving_variance))
        for layer in target_statistics.find_batch_norms(model)
    }


def test_the_first_layer_gets_the_moments_of_all_images_as_one(domain):
    model = toys.make_model()
    statistics = TargetStatistics(images=5, batch_size=2)
    _update(model, domain, statistics)
    stem = keras.Model(model.base.input, model.base.get_layer("stem_conv").output)
    pairs = statistics.choose(domain.list_pairs("train"))
    images = np.stack([domain.read_image(pair.image_path) for pair in pairs])
    inputs = np.array(stem(images.astype(np.float32)), np.float64)
    mean, variance = _read(model)["stem_bn"]
    np.testing.assert_allclose(mean, inputs.mean((0, 1, 2)), atol=1e-4)
    # The layer's own variances are unbiased: n / (n - 1) of a batch of 1,024 pixels.
    np.testing.assert_allclose(variance, inputs.var((0, 1, 2)), rtol=3e-3)


def test_no_weight_moves_and_a_second_time_gives_the_same_bits(domain):
    model = toys.make_model()
    weights = [variable.numpy() for variable in model.trainable_variables]
    start = _read(model)
    _update(model, domain, TargetStatistics())
    once = _read(model)
    _update(model, domain, TargetStatistics())
    assert len(once) == 13
    for name, values in _read(model).items():
        for first, second, before in zip(once[name], values, start[name]):
            np.testing.assert_array_equal(first, second)
            assert not np.array_equal(first, before)
    for before, variable in zip(weights, model.trainable_variables):
        np.testing.assert_array_equal(before, variable.numpy())
    assert {layer.momentum for layer in target_statistics.find_batch_norms(model)} == {0.95}


def test_layers_that_do_not_train_keep_their_statistics(domain):
    model = toys.make_model(batch_norm_training=False)
    before = model.get_weights()
    _update(model, domain, TargetStatistics())
    for old, new in zip(before, model.get_weights()):
        np.testing.assert_array_equal(old, new)


def test_images_are_spread_over_the_list():
    assert TargetStatistics(images=3).choose(list(range(9))) == [0, 3, 6]
    assert TargetStatistics(images=20).choose(list(range(9))) == list(range(9))
    assert TargetStatistics(images=0).choose(list(range(300))) == list(range(300))


@pytest.mark.parametrize("settings", [{"images": -1}, {"batch_size": 0}])
def test_settings_out_of_range_are_refused(settings):
    with pytest.raises(UserError, match=next(iter(settings))):
        TargetStatistics(**settings)
