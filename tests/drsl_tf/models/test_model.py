"""The model's contract, and the one place where losses are divided and weighted."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from drsl_tf import compat
from drsl_tf.self_training import target_statistics
from tests.support import naive
from tests.support import toys

_TERMS = {"ce_source", "ce_target", "dml_source", "dml_target", "sma"}


def _train(model, batch):
    """Trains a step without compiling it, which takes ten times as long."""
    return {k: float(v) for k, v in model.train_step(batch).items()}


def _mean_loss(model, half, loss=naive.cross_entropy_loss):
    """The mean over the valid pixels of labelled images, by stored batch statistics."""
    logits = model(half["image"], training=False)["logits"]
    logits = tf.image.resize(logits, half["label"].shape[1:]).numpy()
    total, count = loss(logits, half["label"].numpy())[:2]
    return total / count


def test_outputs_keep_the_contract():
    outputs = toys.make_model()(tf.zeros((2, 32, 64, 3)))
    assert outputs["logits"].shape == (2, 4, 8, toys.NUM_CLASSES)
    assert outputs["embedding"].shape == (2, 4, 8, 8)
    assert all(value.dtype == tf.float32 for value in outputs.values())
    assert set(toys.make_model(with_modes=False)(tf.zeros((1, 32, 32, 3)))) == {"logits"}


def test_the_loss_is_the_weighted_sum_of_its_terms():
    model = toys.make_model(target_weight=0.7, dml_weight=0.5, sma_weight=0.3, posterior_weight=0.2)
    toys.compile_model(model, keras.optimizers.SGD(0.0))
    logs = _train(model, toys.make_batch())
    weights = {
        "ce_source": 1.0,
        "ce_target": 0.7,
        "dml_source": 0.5,
        "dml_target": 0.5,
        "posterior_source": 0.2,
        "posterior_target": 0.2,
        "sma": 0.3,
    }
    assert set(logs) == {"loss", "gradient_norm", *weights}
    assert all(logs[name] > 0 for name in weights)
    expected = sum(weight * logs[name] for name, weight in weights.items())
    np.testing.assert_allclose(logs["loss"], expected, rtol=1e-5)


def test_cross_entropy_is_a_mean_over_valid_pixels():
    model = toys.make_model(with_modes=False, batch_norm_training=False)
    toys.compile_model(model, keras.optimizers.SGD(0.0))
    batch = toys.make_batch()
    expected = _mean_loss(model, batch["source"])
    np.testing.assert_allclose(_train(model, batch)["ce_source"], expected, rtol=1e-5)


def test_pooled_cross_entropy_is_one_mean_over_both_domains():
    weights = {"source_weight": 0.25, "target_weight": 0.8}
    model = toys.make_model(
        with_modes=False, batch_norm_training=False, pool_cross_entropy=True, **weights
    )
    toys.compile_model(model, keras.optimizers.SGD(0.0))
    batch = toys.make_uneven_batch()
    counts = {name: np.count_nonzero(half["label"] != 255) for name, half in batch.items()}
    sums = {name: _mean_loss(model, half) * counts[name] for name, half in batch.items()}
    factors = {"source": 0.25, "target": 0.8}
    expected = sum(factors[name] * sums[name] for name in sums)
    expected /= sum(factors[name] * counts[name] for name in sums)
    logs = _train(model, batch)
    np.testing.assert_allclose(logs["loss"], expected, rtol=1e-5)
    # The terms are shown as the means of their own domains.
    for name, total in sums.items():
        np.testing.assert_allclose(logs[f"ce_{name}"], total / counts[name], rtol=1e-5)
    # With source images alone it is their mean, whatever their weight.
    batch = toys.make_batch(num_target=0)
    expected = _mean_loss(model, batch["source"])
    np.testing.assert_allclose(_train(model, batch)["loss"], expected, rtol=1e-5)


def test_divergence_from_uniform_counts_labelled_target_pixels():
    model = toys.make_model(with_modes=False, batch_norm_training=False, kld_weight=0.1)
    toys.compile_model(model, keras.optimizers.SGD(0.0))
    batch = toys.make_batch()
    logs = _train(model, batch)
    expected = _mean_loss(model, batch["target"], naive.uniform_divergence_loss)
    np.testing.assert_allclose(logs["kld_target"], expected, rtol=1e-4)
    expected = logs["ce_source"] + logs["ce_target"] + 0.1 * logs["kld_target"]
    np.testing.assert_allclose(logs["loss"], expected, rtol=1e-5)


def test_without_source_images_the_target_trains_alone():
    model = toys.make_model()
    toys.compile_model(model, keras.optimizers.SGD(0.1))
    logs = _train(model, toys.make_batch(num_source=0))
    assert logs["ce_source"] == logs["dml_source"] == logs["sma"] == 0.0
    assert logs["ce_target"] > 0 and logs["dml_target"] > 0


@pytest.mark.parametrize("class_balance", [False, True])
def test_mode_losses_are_means_over_pixels_or_over_classes(class_balance):
    model = toys.make_model(class_balance=class_balance, batch_norm_training=False)
    toys.compile_model(model, keras.optimizers.SGD(0.0))
    batch = toys.make_batch()
    embedding = model(batch["source"]["image"])["embedding"].numpy().reshape(-1, 8)
    label = batch["source"]["label"].numpy()[:, 4::8, 4::8].reshape(-1)
    distances = naive.squared_distances(embedding, model.multimodal_head.modes.numpy())
    classes = [c for c in range(toys.NUM_CLASSES) if (label == c).any()]
    groups = [[c] for c in classes] if class_balance else [classes]
    means = []
    for group in groups:
        kept = np.where(np.isin(label, group), label, 255)
        total, count, _ = naive.mode_margin_loss(distances, kept, 0.5)
        means.append(total / count)
    logs = _train(model, batch)
    np.testing.assert_allclose(logs["dml_source"], np.mean(means), rtol=1e-4)


def test_the_source_stage_has_no_target_terms():
    model = toys.make_model()
    toys.compile_model(model, keras.optimizers.SGD(0.1))
    logs = _train(model, toys.make_batch(num_target=0))
    assert logs["ce_target"] == logs["dml_target"] == logs["sma"] == 0.0
    assert logs["ce_source"] > 0 and logs["dml_source"] > 0


def test_frozen_statistics_serve_batches_with_a_target_and_no_others():
    model = toys.make_model(freeze_statistics=True)
    toys.compile_model(model, keras.optimizers.SGD(0.1))
    layer = target_statistics.find_batch_norms(model)[0]
    initial = layer.moving_mean.numpy()
    _train(model, toys.make_batch(num_target=0))
    after_source = layer.moving_mean.numpy()
    assert np.abs(after_source - initial).max() > 0
    batch, gamma = toys.make_batch(), layer.gamma.numpy()
    expected = _mean_loss(model, batch["source"])
    np.testing.assert_allclose(_train(model, batch)["ce_source"], expected, rtol=1e-5)
    np.testing.assert_array_equal(layer.moving_mean.numpy(), after_source)
    assert np.abs(layer.gamma.numpy() - gamma).max() > 0


@pytest.mark.parametrize("num_target", [0, 4])
def test_an_all_ignored_batch_moves_no_weight(num_target):
    model = toys.make_model(batch_norm_training=False)
    toys.compile_model(model, keras.optimizers.SGD(1.0))
    batch = toys.make_batch(num_target=num_target)
    for half in batch.values():
        half["label"] = tf.fill(half["label"].shape, 255)
    before = [v.numpy() for v in model.trainable_variables]
    assert _train(model, batch)["loss"] == 0.0
    for old, variable in zip(before, model.trainable_variables):
        np.testing.assert_array_equal(old, variable.numpy())


def test_training_lowers_every_term_on_one_batch():
    model = toys.make_model(batch_norm_training=False)
    toys.compile_model(model, keras.optimizers.Adam(3e-3))
    batch = toys.make_batch()
    step = tf.function(model.train_step)
    first = {k: float(v) for k, v in step(batch).items()}
    for _ in range(100):
        last = step(batch)
    for name in _TERMS - {"sma"}:
        assert float(last[name]) < 0.95 * first[name], name


def test_fit_takes_the_batch_contract():
    model = toys.make_model()
    toys.compile_model(model, keras.optimizers.Adam(1e-3))
    dataset = tf.data.Dataset.from_tensors(toys.make_batch()).repeat(3)
    history = model.fit(dataset, epochs=1, verbose=0)
    assert set(history.history) == {"loss", "gradient_norm", *_TERMS}
    assert np.isfinite(history.history["loss"]).all()
    labelled = tf.data.Dataset.from_tensors(toys.make_batch()["source"])
    loss = model.evaluate(labelled, verbose=0, return_dict=True)["loss"]
    assert np.isfinite(loss) and loss > 0


def test_config_round_trip_gives_the_same_function():
    model = toys.make_model(dml_weight=0.25)
    twin = type(model).from_config(model.get_config())
    twin.set_weights(model.get_weights())
    images = toys.make_batch()["source"]["image"]
    for key, value in model(images).items():
        np.testing.assert_array_equal(value, twin(images)[key])
    assert twin.get_config()["dml_weight"] == 0.25


def test_optimizer_state_is_listed_whole():
    model = toys.make_model()
    optimizer = keras.optimizers.Adam(1e-3)
    toys.compile_model(model, optimizer)
    listed = len(compat.list_optimizer_variables(optimizer))
    _train(model, toys.make_batch())
    assert listed == len(compat.list_optimizer_variables(optimizer))
    assert listed >= 2 * len(model.trainable_variables) + 1
