"""The feature distance to the initial encoder."""

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf

from data_pipelines.errors import UserError
from drsl_tf.networks import backbones
from drsl_tf.networks.heads.linear_head import LinearHead
from drsl_tf.self_training import feature_distance
from drsl_tf.self_training.feature_distance import InitialEncoder
from drsl_tf.self_training.online_model import OnlineDrslModel
from tests.support import toys

# Its levels are joined, and level5 is the deepest.
_build_base = functools.partial(backbones.small_cnn, width=8)


@pytest.mark.parametrize("size, cells", [((16, 24), (2, 3)), ((13, 21), (2, 3))])
def test_filled_cells_are_those_of_loops(size, cells):
    rng = np.random.default_rng(0)
    labels = rng.choice([1, 2, 255], (3, *cells), p=[0.5, 0.3, 0.2]).repeat(8, 1).repeat(8, 2)
    labels[rng.random(labels.shape) < 0.2] = 0
    labels = labels[:, : size[0], : size[1]]
    found = feature_distance.find_filled_cells(tf.constant(labels), tf.constant(cells), (1, 7))
    padded = np.full((3, cells[0] * 8, cells[1] * 8), 255)
    if size == (13, 21):
        padded = np.full((3, cells[0] * 7, cells[1] * 7), 255)
    padded[:, : size[0], : size[1]] = labels
    side = padded.shape[1] // cells[0]
    for image, row, column in np.ndindex(3, *cells):
        cell = padded[image, row * side : (row + 1) * side, column * side : (column + 1) * side]
        expected = max((cell == 1).mean(), (cell == 7).mean()) >= 0.75
        assert found[image, row, column] == expected
    assert 0 < found.numpy().mean() < 1


def test_the_distance_is_the_norm_of_the_change_since_the_start():
    keras.utils.set_random_seed(0)
    base = _build_base()
    encoder = InitialEncoder(base)
    images = toys.make_batch(size=(64, 64))["source"]["image"]
    labels = tf.fill((4, 64, 64), 3)
    features = base(images, training=False)["level5"]
    total, count = encoder.compute_distance(features, images, labels, (3,))
    assert float(count) == 4 * 2 * 2 and float(total) == pytest.approx(0.0, abs=1e-3)
    moved = features + 0.5
    total, _ = encoder.compute_distance(moved, images, labels, (3,))
    assert float(total) == pytest.approx(16 * 0.5 * features.shape[-1] ** 0.5, rel=1e-4)
    total, count = encoder.compute_distance(moved, images, labels, (4,))
    assert float(total) == float(count) == 0.0
    base.layers[2].set_weights([w + 1.0 for w in base.layers[2].get_weights()])
    again, _ = encoder.compute_distance(moved, images, labels, (3,))
    assert float(again) == pytest.approx(16 * 0.5 * features.shape[-1] ** 0.5, rel=1e-4)


@pytest.mark.slow
def test_training_has_the_term_and_leaves_the_initial_encoder_alone(tmp_path):
    settings = {"feature_weight": 0.5, "feature_classes": (0, 1, 2, 3, 4), "threshold": 0.2}
    model = toys.make_model(model_class=OnlineDrslModel, base=_build_base, **settings)
    toys.compile_model(model, keras.optimizers.SGD(0.1))
    batch = toys.make_batch(size=(64, 64))
    for half in batch.values():
        half["label"] = tf.repeat(tf.repeat(half["label"][:, ::32, ::32], 32, 1), 32, 2)
    initial = [v.numpy() for v in model._initial.variables]
    logs = [tf.function(model.train_step)(batch) for _ in range(2)]
    # Batch statistics alone already move the features.
    assert all(float(log["feature_distance"]) > 0 for log in logs)
    weighed = sum(float(logs[0][name]) for name in ("ce_source", "ce_target", "dml_source"))
    weighed += float(logs[0]["dml_target"]) + 0.1 * float(logs[0]["sma"])
    weighed += 0.5 * float(logs[0]["feature_distance"])
    assert float(logs[0]["loss"]) == pytest.approx(weighed, rel=1e-5)
    for expected, variable in zip(initial, model._initial.variables):
        np.testing.assert_array_equal(expected, variable)
    names = {id(v) for v in model.trainable_variables}
    assert not names & {id(v) for v in model._initial.variables}
    path = str(tmp_path / "model.keras")
    model.save(path)
    loaded = keras.models.load_model(path)
    for expected, variable in zip(initial, loaded._initial.variables):
        np.testing.assert_array_equal(expected, variable)


def test_a_base_without_the_deepest_level_is_refused():
    image = keras.Input((None, None, 3))
    base = keras.Model(image, {"features": keras.layers.Conv2D(2, 1)(image)})
    with pytest.raises(UserError, match="feature_weight is 0.1, but the base has no level5"):
        OnlineDrslModel(base, LinearHead(2), feature_weight=0.1)


def test_classes_that_the_model_does_not_have_are_refused():
    options = {"model_class": OnlineDrslModel, "base": _build_base, "feature_weight": 0.1}
    with pytest.raises(UserError, match=r"feature_classes is \(6, 7,.*0 to 4"):
        toys.make_model(**options)


def test_layers_that_join_levels_learn_at_the_heads_rate():
    model = toys.make_model(base=_build_base)
    heads = {id(v) for v in model.head_variables}
    names = {
        layer.name
        for layer in model.base.layers
        if any(id(v) in heads for v in layer.trainable_variables)
    }
    assert names == {
        "fuse_bn", "lateral0", "lateral1", "lateral2", "refine_bn", "refine_dw", "refine_pw"
    }  # fmt: skip
