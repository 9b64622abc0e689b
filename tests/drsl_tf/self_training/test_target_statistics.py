"""Batch statistics of the target: what they are, what they leave alone, and that they repeat."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from data_pipelines.batches import whole_images
from data_pipelines.domains.camvid import CamVid
from data_pipelines.errors import UserError
from drsl_tf.models.inference import Inference
from drsl_tf.models.model import DrslModel
from drsl_tf.networks.heads import linear_head
from drsl_tf.self_training import target_statistics
from drsl_tf.self_training.target_statistics import TargetStatistics
from tests.support import toys


@pytest.fixture(name="domain")
def _domain(tmp_path):
    rng = np.random.default_rng(0)
    folder = tmp_path / "images" / "train"
    folder.mkdir(parents=True)
    for index in range(7):
        pixels = rng.integers(0, 40 + 30 * index, (32, 64, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{index}.png")
    return CamVid(root=str(tmp_path))


def _update(model, domain, statistics, batch_size=8):
    strategy = tf.distribute.get_strategy()
    pairs = domain.list_pairs("train")
    statistics.update(model, strategy, domain, pairs, Inference(batch_size=batch_size))


def _read(model):
    return {
        layer.name: (np.array(layer.moving_mean), np.array(layer.moving_variance))
        for layer in target_statistics.find_batch_norms(model)
    }


def test_the_first_layer_gets_the_moments_of_all_images_as_one(domain):
    model = toys.make_model()
    statistics = TargetStatistics(images=5)
    _update(model, domain, statistics, batch_size=2)
    first = keras.Model(model.base.input, model.base.get_layer("level2_conv").output)
    pairs = whole_images.spread_evenly(domain.list_pairs("train"), 5)
    images = np.stack([domain.read_image(pair.image_path) for pair in pairs])
    inputs = np.array(first(images.astype(np.float32)), np.float64)
    mean, variance = _read(model)["level2_bn"]
    np.testing.assert_allclose(mean, inputs.mean((0, 1, 2)), atol=1e-4)
    # The layer's own variances are unbiased: n / (n - 1) of a batch of 256 pixels.
    np.testing.assert_allclose(variance, inputs.var((0, 1, 2)), rtol=8e-3)


def test_a_constant_channel_far_from_zero_has_no_variance(domain):
    """In float32 its mean square would round to a variance, even a negative one."""
    inputs = keras.Input((None, None, 3))
    x = keras.layers.Rescaling((0.0, 1.0, 1.0), (3000.7, 0.0, 0.0))(inputs)
    model = DrslModel(
        keras.Model(inputs, {"features": keras.layers.BatchNormalization(name="bn")(x)}),
        linear_head.LinearHead(5),
    )
    _update(model, domain, TargetStatistics(), batch_size=2)
    mean, variance = _read(model)["bn"]
    assert mean[0] == pytest.approx(3000.7, rel=1e-5)
    assert 0 <= variance[0] < 0.01
    assert variance[1] > 1000


def test_a_prior_counts_as_that_many_images(domain):
    plain, mixed = toys.make_model(), toys.make_model()
    own = _read(mixed)
    _update(plain, domain, TargetStatistics(images=5), batch_size=2)
    _update(mixed, domain, TargetStatistics(images=5, prior_images=15), batch_size=2)
    replaced = _read(plain)
    for name, (mean, variance) in _read(mixed).items():
        means, variances = (np.float64([replaced[name][i], own[name][i]]) for i in range(2))
        expected = 0.25 * means[0] + 0.75 * means[1]
        np.testing.assert_allclose(mean, expected, rtol=1e-5, atol=1e-6)
        squares = 0.25 * (variances + means**2)[0] + 0.75 * (variances + means**2)[1]
        np.testing.assert_allclose(variance, squares - expected**2, rtol=1e-4, atol=1e-5)


def test_mixed_moments_are_those_of_the_samples_together():
    rng = np.random.default_rng(0)
    samples = [rng.normal(3.0, 2.0, (300, 4)), rng.normal(-1.0, 0.5, (100, 4))]
    first, second = (([each.mean(0)], [each.var(0)]) for each in samples)
    (mean,), (variance,) = target_statistics.mix_moments(first, second, 0.25)
    np.testing.assert_allclose(mean, np.concatenate(samples).mean(0))
    np.testing.assert_allclose(variance, np.concatenate(samples).var(0))
    for share, expected in ((0.0, first), (1.0, second)):
        np.testing.assert_allclose(target_statistics.mix_moments(first, second, share), expected)


def test_no_weight_moves_and_a_second_time_gives_the_same_bits(domain):
    model = toys.make_model()
    weights = [variable.numpy() for variable in model.trainable_variables]
    start = _read(model)
    _update(model, domain, TargetStatistics())
    once = _read(model)
    _update(model, domain, TargetStatistics())
    assert len(once) == 2
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


def _make_dropping_model(rate):
    """Builds a model with dropout between two batch normalisations."""
    inputs = keras.Input((None, None, 3))
    x = inputs
    for index in range(2):
        # A seed of its own: Keras 3 draws one for dropout from the same sequence.
        kernel = keras.initializers.GlorotUniform(seed=index)
        x = keras.layers.Conv2D(8, 3, 2, "same", kernel_initializer=kernel)(x)
        x = keras.layers.BatchNormalization(name=f"bn_{index}")(x)
        x = keras.layers.Dropout(rate, name=f"dropout_{index}")(x)
    return DrslModel(keras.Model(inputs, {"features": x}), linear_head.LinearHead(5))


def test_dropout_is_off_while_batch_norm_measures_and_on_in_training(domain):
    plain, dropping = _make_dropping_model(0.0), _make_dropping_model(0.5)
    _update(plain, domain, TargetStatistics())
    _update(dropping, domain, TargetStatistics())
    for name, values in _read(plain).items():
        for expected, found in zip(values, _read(dropping)[name]):
            np.testing.assert_array_equal(expected, found)
    images = np.random.default_rng(0).uniform(0, 255, (2, 32, 64, 3)).astype(np.float32)
    outputs = [np.array(dropping(images, training=mode)["logits"]) for mode in (True, True)]
    assert not np.array_equal(*outputs)
    # Batch normalisation follows the call's mode again.
    moved = _read(dropping)
    dropping(images, training=False)
    for name, values in _read(dropping).items():
        assert not np.array_equal(values[0], _read(plain)[name][0])
        np.testing.assert_array_equal(values[0], moved[name][0])


def test_an_image_that_cannot_be_read_leaves_the_layers_as_they_were(domain):
    model = toys.make_model()
    pairs = domain.list_pairs("train")
    with open(pairs[3].image_path, "wb") as file:
        file.write(b"no image")
    with pytest.raises(UserError, match="3.png"):
        _update(model, domain, TargetStatistics(), batch_size=1)
    layers = target_statistics.find_batch_norms(model)
    assert {layer.momentum for layer in layers} == {0.95}
    assert not any("call" in vars(layer) for layer in layers)


@pytest.mark.parametrize("name", ["images", "prior_images"])
def test_settings_out_of_range_are_refused(name):
    with pytest.raises(UserError, match=f"TargetStatistics.{name} is -1"):
        TargetStatistics(**{name: -1})
